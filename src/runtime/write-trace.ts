import type { Clock } from '../ports/clock.js'
import type { Span, SpanName, Tracer } from '../ports/tracer.js'

/** Moments of a block that all its writes share, on the monotonic clock. */
export interface BlockTimes {
  readonly appendedMs: number
  /** Durable on this node. */
  flushedMs: number | undefined
  /** Durable on all members that the commit rule names. */
  committedMs: number | undefined
}

/** One write that somebody records: gathering, then fsync here and acknowledgements at the same time, then applying. */
export class WriteTrace {
  private readonly tracer: Tracer
  private readonly clock: Clock
  private readonly span: Span
  private readonly submittedMs: number
  block: BlockTimes | undefined

  private constructor(tracer: Tracer, clock: Clock, span: Span) {
    this.tracer = tracer
    this.clock = clock
    this.span = span
    this.submittedMs = clock.nowMs()
  }

  /** Undefined where nobody records it. */
  static begin(
    tracer: Tracer | undefined,
    clock: Clock,
    attributes: () => Readonly<Record<string, string | number>>,
  ): WriteTrace | undefined {
    const span = tracer?.start('understudy.write')
    if (tracer === undefined || span === undefined) return undefined
    span.set(attributes())
    return new WriteTrace(tracer, clock, span)
  }

  end(outcome: { readonly error?: unknown; readonly sequence?: number }): void {
    const nowMs = this.clock.nowMs()
    const { block } = this
    this.phase('understudy.write.queue', this.submittedMs, block?.appendedMs ?? nowMs)
    if (block !== undefined) {
      this.phase('understudy.write.flush', block.appendedMs, block.flushedMs ?? nowMs)
      this.phase('understudy.write.acks', block.appendedMs, block.committedMs ?? nowMs)
      if (block.committedMs !== undefined) this.phase('understudy.write.apply', block.committedMs, nowMs)
    }
    if (outcome.sequence !== undefined) this.span.set({ 'understudy.sequence': outcome.sequence })
    this.span.end({ ...(outcome.error === undefined ? {} : { error: outcome.error }), endMs: this.wall(nowMs) })
  }

  /** The role has ended; somebody else answers the write. */
  move(): void {
    this.span.event('handed on to the next primary')
    this.end({})
  }

  private phase(name: SpanName, fromMs: number, toMs: number): void {
    const span = this.tracer.start(name, {}, { parent: this.span, startMs: this.wall(fromMs) })
    span?.end({ endMs: this.wall(toMs) })
  }

  /** Tracers speak of the time of day; durations are of the monotonic clock. */
  private wall(monotonicMs: number): number {
    return this.clock.wallMs() - (this.clock.nowMs() - monotonicMs)
  }
}
