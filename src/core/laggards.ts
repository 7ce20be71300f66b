interface Sample {
  readonly atMs: number
  readonly end: number
}

/**
 * Since when each member of the in-sync set is behind or away (Kafka's `replica.lag.time.max.ms`): a member is caught up
 * as of the last moment whose journal end it holds durably. A time in which this process itself stood still counts for
 * nobody.
 */
export class Laggards {
  private readonly timeoutMs: number
  private readonly stallMs: number
  private readonly samples: Sample[] = []
  private readonly caughtUpMs = new Map<string, number>()
  private lastTickMs: number | undefined

  /** `stallMs`: ticks further apart than this mean that this process was stopped. */
  constructor(options: { readonly timeoutMs: number; readonly stallMs: number }) {
    this.timeoutMs = options.timeoutMs
    this.stallMs = options.stallMs
  }

  /** `durable` of a member is undefined while it is not connected. Returns who has been behind for too long. */
  tick(
    nowMs: number,
    end: number,
    members: ReadonlyArray<{ readonly node: string; readonly durable: number | undefined }>,
  ): string[] {
    const gapMs = this.lastTickMs === undefined ? 0 : nowMs - this.lastTickMs
    this.lastTickMs = nowMs
    if (gapMs > this.stallMs) {
      for (const [node, atMs] of this.caughtUpMs) this.caughtUpMs.set(node, atMs + gapMs)
      this.samples.length = 0
    }
    this.sample(nowMs, end)
    const overdue: string[] = []
    for (const { node, durable } of members) {
      // A member that is new here gets the whole time.
      const before = this.caughtUpMs.get(node) ?? nowMs
      const held = durable === undefined ? undefined : this.samples.findLast((sample) => sample.end <= durable)
      const caughtUpMs = Math.max(before, held?.atMs ?? 0)
      this.caughtUpMs.set(node, caughtUpMs)
      if (nowMs - caughtUpMs > this.timeoutMs) overdue.push(node)
    }
    for (const node of this.caughtUpMs.keys()) {
      if (!members.some((member) => member.node === node)) this.caughtUpMs.delete(node)
    }
    return overdue
  }

  /** A bounded number of moments, spread over the time that matters. */
  private sample(nowMs: number, end: number): void {
    const last = this.samples.at(-1)
    if (last === undefined || nowMs - last.atMs >= this.timeoutMs / 64) this.samples.push({ atMs: nowMs, end })
    while (this.samples[0] !== undefined && nowMs - this.samples[0].atMs > 2 * this.timeoutMs) this.samples.shift()
  }
}
