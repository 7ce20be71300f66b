import type { Block } from '../core/entry.js'
import { formatPosition, type Position } from '../core/position.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Engine, EngineFactory } from '../ports/engine.js'
import type { Journal, JournalFactory, JournalIdentity } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import { Applier } from './applier.js'
import type { ShardStore } from './shard-store.js'

export interface ShardDataParts {
  readonly store: ShardStore
  readonly journals: JournalFactory
  readonly engines: EngineFactory
  readonly clock: Clock
  readonly logger: Logger
  readonly identity: JournalIdentity
  /** The position of a history without entries. */
  readonly empty: Position
  readonly checkpointBytes: number
  readonly checkpointIntervalMs: number
  readonly onDurable: () => void
  readonly onBlocks: (blocks: readonly Block[]) => void
  readonly onApplied: () => void
  readonly onFailed: (error: unknown) => void
  /** The engine's files are damaged; another node can rebuild them. */
  readonly onDamaged: (error: Error) => void
  /** After a checkpoint: lets go of the journal that nobody needs. */
  readonly onCheckpoint: (checkpoint: Position) => Promise<void>
  readonly observe: { flushSeconds(seconds: number): void; applySeconds(seconds: number): void }
}

/** Thrown at open when the directory cannot be continued but another node can rebuild it. */
export class BootstrapNeeded extends Error {
  override readonly name = 'BootstrapNeeded'
}

/**
 * Journal, engine and what moves entries from one to the other, open together: one shard's data on one node. The
 * restart's replay ends at what the disk says was committed (J1).
 */
export class ShardData {
  readonly journal: Journal
  readonly engine: Engine
  readonly applier: Applier
  private readonly parts: ShardDataParts
  private committedSequence: number
  private checkpointAt: Position
  private bytesSinceCheckpoint = 0
  private checkpointing: Promise<void> | undefined
  private checkpointTimer: Timer | undefined
  private closing: Promise<void> | undefined

  private constructor(parts: ShardDataParts, journal: Journal, engine: Engine, from: Position, committed: number) {
    this.parts = parts
    this.journal = journal
    this.engine = engine
    this.checkpointAt = from
    this.committedSequence = committed
    this.applier = new Applier({
      journal,
      engine,
      clock: parts.clock,
      from,
      onBlocks: parts.onBlocks,
      onApplied: (_position, seconds, bytes) => {
        parts.observe.applySeconds(seconds)
        this.bytesSinceCheckpoint += bytes
        if (this.bytesSinceCheckpoint >= parts.checkpointBytes) this.startCheckpoint()
        parts.onApplied()
      },
      onFailed: parts.onFailed,
    })
  }

  /** End of the last block that is committed and durable here. */
  async committedEnd(): Promise<Position> {
    const sequence = Math.min(this.committedSequence, this.journal.durable.sequence)
    return (await this.journal.positionAt(sequence)) ?? this.applier.applied
  }

  /** True if the journal contains `position`, or begins after it: what is trimmed was committed and applied here. */
  async holds(position: Position): Promise<boolean> {
    if (position.sequence < this.journal.base.sequence) return true
    return (await this.journal.positionAt(position.sequence))?.chain === position.chain
  }

  static async create(parts: ShardDataParts): Promise<ShardData> {
    const { files, current } = parts.store
    await parts.store.beginCurrent()
    const hooks = new JournalHooks(parts)
    const journal = await parts.journals.create(
      files.join(current, 'journal'),
      parts.identity,
      { base: parts.empty, epochs: [] },
      hooks.events,
    )
    const engine = await parts.engines.open(files.join(current, 'engine'), parts.empty, parts.onDamaged)
    const data = new ShardData(parts, journal, engine, parts.empty, 0)
    hooks.live = true
    data.scheduleCheckpoint()
    return data
  }

  /**
   * Throws `BootstrapNeeded` where another node must help, coded errors where an operator must. `kept`: the engine
   * that a bootstrap has just filled, where it lives in memory only.
   */
  static async open(parts: ShardDataParts, kept?: Engine): Promise<ShardData> {
    const { files, current } = parts.store
    const hooks = new JournalHooks(parts)
    const { journal, cutBytes } = await parts.journals.open(
      files.join(current, 'journal'),
      parts.identity,
      hooks.events,
    )
    if (cutBytes > 0)
      parts.logger.warn({ cutBytes, end: journal.durable.sequence }, 'a torn tail of the journal was cut')
    let engine: Engine
    try {
      engine = kept ?? (await parts.engines.open(files.join(current, 'engine'), parts.empty, parts.onDamaged))
    } catch (error) {
      await journal.close()
      if (isFailure(error, 'CORRUPTION')) throw new BootstrapNeeded(error.message)
      throw error
    }
    try {
      const from = await replayStart(
        journal,
        engine,
        kept === undefined ? (engine.opened.checkpoint ?? parts.empty) : kept.applied,
      )
      const knownCommitted = Math.max(journal.committedMark, engine.opened.applied?.sequence ?? 0, from.sequence)
      const committed = Math.min(knownCommitted, journal.durable.sequence)
      const data = new ShardData(parts, journal, engine, from, committed)
      data.applier.advance(committed)
      await data.applier.settled()
      hooks.live = true
      data.scheduleCheckpoint()
      return data
    } catch (error) {
      await engine.close()
      await journal.close()
      throw error
    }
  }

  /** Highest sequence known to be committed; never above what is durable here when it is applied. */
  get committed(): number {
    return this.committedSequence
  }

  get checkpoint(): Position {
    return this.checkpointAt
  }

  noteCommitted(sequence: number): void {
    if (sequence > this.committedSequence) {
      this.committedSequence = sequence
      this.journal.noteCommitted(sequence)
    }
    this.applier.advance(Math.min(this.committedSequence, this.journal.durable.sequence))
  }

  close(): Promise<void> {
    this.closing ??= this.doClose()
    return this.closing
  }

  private async doClose(): Promise<void> {
    this.checkpointTimer?.cancel()
    await this.checkpointing
    await this.applier.stop()
    try {
      await this.engine.close()
    } finally {
      await this.journal.close()
    }
  }

  private scheduleCheckpoint(): void {
    this.checkpointTimer = this.parts.clock.setTimer(this.parts.checkpointIntervalMs, () => {
      if (this.bytesSinceCheckpoint > 0) this.startCheckpoint()
      this.scheduleCheckpoint()
    })
  }

  private startCheckpoint(): void {
    if (this.checkpointing !== undefined || this.closing !== undefined) return
    this.bytesSinceCheckpoint = 0
    this.checkpointing = this.engine
      .checkpoint()
      .then(async (position) => {
        this.checkpointAt = position
        await this.parts.onCheckpoint(position)
      })
      .catch((error) => this.parts.onFailed(error))
      .finally(() => {
        this.checkpointing = undefined
      })
  }
}

/** Journal events that come while the data is still being opened concern nobody yet, except a failure. */
class JournalHooks {
  live = false
  readonly events: { onDurable(position: Position, flushMs: number): void; onFailed(error: Error): void }

  constructor(parts: ShardDataParts) {
    this.events = {
      onDurable: (_position, flushMs) => {
        parts.observe.flushSeconds(flushMs / 1000)
        if (this.live) parts.onDurable()
      },
      onFailed: (error) => parts.onFailed(error),
    }
  }
}

/** Where the replay begins: the engine's proven position, held against the journal's chain (J4). */
async function replayStart(journal: Journal, engine: Engine, found: Position): Promise<Position> {
  if (found.sequence < journal.base.sequence) {
    if (engine.volatile || engine.opened.checkpoint === undefined) {
      throw new BootstrapNeeded(`the engine is empty and the journal begins after ${journal.base.sequence}`)
    }
    throw new BootstrapNeeded(`the engine ends at ${found.sequence}, the journal begins after ${journal.base.sequence}`)
  }
  if (found.sequence > journal.durable.sequence) {
    throw new UnderstudyError(
      'CORRUPTION',
      `the engine holds entries up to ${formatPosition(found)}, the journal ends at ${formatPosition(journal.durable)}: journal segments are missing`,
      {
        hint: 'restore the journal directory, or rebuild this node from another with `understudy bootstrap --replace`',
      },
    )
  }
  const applied = engine.opened.applied?.sequence ?? 0
  if (applied > journal.durable.sequence) {
    throw new UnderstudyError(
      'CORRUPTION',
      `the engine holds entries up to ${applied}, the journal ends at ${formatPosition(journal.durable)}: journal blocks are missing`,
      {
        hint: 'restore the journal directory, or rebuild this node from another with `understudy bootstrap --replace`',
      },
    )
  }
  const here = await journal.positionAt(found.sequence)
  if (here === undefined || here.chain !== found.chain) {
    throw new UnderstudyError(
      'CORRUPTION',
      `engine and journal disagree at ${formatPosition(found)}: expected chain ${found.chain}, found ${here?.chain ?? 'no block end'}`,
      { hint: 'they are not of one directory; rebuild this node from another with `understudy bootstrap --replace`' },
    )
  }
  return here
}
