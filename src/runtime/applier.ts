import { requestsOf } from '../codec/block.js'
import type { Block, Origin } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { Clock } from '../ports/clock.js'
import type { Engine } from '../ports/engine.js'
import type { Journal } from '../ports/journal.js'

/** A request of one process whose entry is waited for. */
export interface AppliedMark {
  readonly origin: Origin
  readonly request: number
  /** Must not throw. */
  readonly reached: () => void
}

/**
 * Brings committed blocks from the journal into the engine, in order, one batch at a time. It reads the journal, so
 * what it applies is what this node holds durably; it never goes beyond the target it was given (J1).
 */
export class Applier {
  private readonly journal: Journal
  private readonly engine: Engine
  private readonly clock: Clock
  private readonly onBlocks: ((blocks: readonly Block[]) => void) | undefined
  private readonly onApplied: (position: Position, seconds: number, bytes: number) => void
  private readonly onFailed: (error: unknown) => void
  private target: number
  private running: Promise<void> = Promise.resolve()
  /** False from the very moment in which the loop ends: a target that comes then begins a new one. */
  private active = false
  private stopped = false
  private at: Position
  private readonly marks = new Set<AppliedMark>()

  constructor(parts: {
    readonly journal: Journal
    readonly engine: Engine
    readonly clock: Clock
    /** Proven position from which the journal is replayed. */
    readonly from: Position
    /** Every block, in order, before anybody else hears that it is applied. */
    readonly onBlocks?: (blocks: readonly Block[]) => void
    readonly onApplied: (position: Position, seconds: number, bytes: number) => void
    readonly onFailed: (error: unknown) => void
  }) {
    this.journal = parts.journal
    this.engine = parts.engine
    this.clock = parts.clock
    this.at = parts.from
    this.target = parts.from.sequence
    this.onBlocks = parts.onBlocks
    this.onApplied = parts.onApplied
    this.onFailed = parts.onFailed
  }

  get applied(): Position {
    return this.at
  }

  /**
   * `reached` is called once, in the turn in which the block that holds this request has been applied and before the
   * next one is: what is read then is the content at that very position, on every node. Returns what stops it.
   */
  watch(mark: AppliedMark): () => void {
    this.marks.add(mark)
    return () => this.marks.delete(mark)
  }

  /** Applies up to `sequence`, which must be committed and durable here. Lower targets than before are ignored. */
  advance(sequence: number): void {
    invariant(sequence <= this.journal.durable.sequence, 'only what is durable here is applied')
    if (sequence <= this.target || this.stopped) return
    this.target = sequence
    if (this.active) return
    this.active = true
    this.running = this.run()
  }

  /** Resolves when what is under way has ended; nothing is applied afterwards. */
  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }

  /** Resolves when everything up to the present target is applied. */
  async settled(): Promise<void> {
    while (this.active) await this.running
  }

  /** Blocks up to the first that somebody watches for, and who that is. */
  private upToMark(blocks: readonly Block[]): [readonly Block[], readonly AppliedMark[]] {
    if (this.marks.size === 0) return [blocks, []]
    for (const [index, block] of blocks.entries()) {
      const found = [...this.marks].filter(({ origin, request }) => requestsOf(block, origin).includes(request))
      if (found.length === 0) continue
      for (const mark of found) this.marks.delete(mark)
      return [blocks.slice(0, index + 1), found]
    }
    return [blocks, []]
  }

  private async run(): Promise<void> {
    try {
      while (this.at.sequence < this.target && !this.stopped) {
        const options = { bytesMax: limits.applyBytesMax, limitSequence: this.target }
        const read = this.journal.readCached(this.at, options) ?? (await this.journal.read(this.at, options))
        const [blocks, marks] = this.upToMark(read)
        const last = blocks.at(-1)
        // A target inside a block: the rest of the block was not announced yet.
        if (last === undefined) return
        invariant(blocks[0]!.header.firstSequence === this.at.sequence + 1, 'entries are applied without a gap')
        const startMs = this.clock.nowMs()
        await this.engine.apply(blocks)
        this.at = last.end
        for (const mark of marks) mark.reached()
        this.onBlocks?.(blocks)
        let bytes = 0
        for (const block of blocks) bytes += block.bytes.length
        this.onApplied(last.end, (this.clock.nowMs() - startMs) / 1000, bytes)
      }
    } catch (error) {
      this.stopped = true
      this.onFailed(error)
    } finally {
      this.active = false
    }
  }
}
