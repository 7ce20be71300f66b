import type { Block } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { Clock } from '../ports/clock.js'
import type { Engine } from '../ports/engine.js'
import type { Journal } from '../ports/journal.js'

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

  private async run(): Promise<void> {
    try {
      while (this.at.sequence < this.target && !this.stopped) {
        const options = { bytesMax: limits.applyBytesMax, limitSequence: this.target }
        const blocks = this.journal.readCached(this.at, options) ?? (await this.journal.read(this.at, options))
        const last = blocks.at(-1)
        // A target inside a block: the rest of the block was not announced yet.
        if (last === undefined) return
        invariant(blocks[0]!.header.firstSequence === this.at.sequence + 1, 'entries are applied without a gap')
        const startMs = this.clock.nowMs()
        await this.engine.apply(blocks)
        this.at = last.end
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
