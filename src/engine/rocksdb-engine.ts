import type { Block, Family } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { comparePositions, type Position, samePosition } from '../core/position.js'
import type {
  Engine,
  EngineChunk,
  EngineIterator,
  EngineSnapshot,
  EngineState,
  FileCheckpoint,
  RewoundKey,
  ScanOptions,
} from '../ports/engine.js'
import { assertChunkSize, assertContinues } from './continuity.js'
import { FamilyTable } from './family-table.js'
import { type Database, presentView } from './rocksdb-addon.js'
import { describeCheckpoint } from './rocksdb-checkpoint.js'
import { closedError, isDamage, noteDamage, rocksdbError } from './rocksdb-errors.js'
import { bookkeeping } from './rocksdb-keys.js'
import { RocksdbIterator, RocksdbSnapshot, rocksdbSnapshotOf } from './rocksdb-reader.js'
import { encodePosition } from './store-meta.js'

export interface RocksdbEngineParts {
  readonly database: Database
  readonly directory: string
  readonly empty: Position
  readonly onDamaged: (error: Error) => void
  readonly opened: EngineState
  readonly table: FamilyTable
  readonly ingesting: boolean
}

export class RocksdbEngine implements Engine {
  readonly kind = 'rocksdb'
  readonly volatile = false
  readonly opened: EngineState
  private readonly database: Database
  private readonly directory: string
  private readonly empty: Position
  private readonly onDamaged: (error: Error) => void
  private damaged = false
  /** The highest position that batches of an earlier process named; undefined once this one has passed it. */
  private replayTarget: Position | undefined
  private table: FamilyTable
  private ingesting: boolean
  private appliedPosition: Position
  private checkpointed: Position
  private checkpointing: Promise<void> | undefined
  private writing: Promise<void> | undefined
  private readonly iterators = new Set<RocksdbIterator>()
  private isClosed = false
  private closing: Promise<void> | undefined

  constructor(parts: RocksdbEngineParts) {
    this.database = parts.database
    this.directory = parts.directory
    this.empty = parts.empty
    this.onDamaged = parts.onDamaged
    this.opened = parts.opened
    this.table = parts.table
    this.ingesting = parts.ingesting
    // What was found is what was flushed: nothing in it waits for a proof.
    this.appliedPosition = parts.opened.checkpoint ?? parts.empty
    this.checkpointed = this.appliedPosition
    this.replayTarget = parts.opened.applied
  }

  get applied(): Position {
    return this.appliedPosition
  }

  get families(): readonly Family[] {
    return this.table.families
  }

  get familyIdNext(): number {
    return this.table.idNext
  }

  async apply(blocks: readonly Block[]): Promise<void> {
    const first = blocks[0]
    const last = blocks.at(-1)
    if (first === undefined || last === undefined) return
    invariant(!this.ingesting, 'nothing is applied to an engine before its ingestion is finished')
    assertContinues(this.appliedPosition, first)
    await this.write('applying blocks', async () => {
      const meta: Array<Uint8Array | undefined> = [bookkeeping.applied, encodePosition(last.end)]
      const replayed = this.pushReached(meta, last.end)
      const changes = await this.database.apply(
        blocks.map(({ bytes }) => bytes),
        meta,
      )
      this.changeTable(changes)
      this.appliedPosition = last.end
      if (replayed) this.replayTarget = undefined
    })
  }

  /**
   * Blocks that were applied before may be applied again, and the position goes through old values then. What was
   * reached is kept beside it, or a crash in the middle would make the store look younger than it is.
   */
  private pushReached(meta: Array<Uint8Array | undefined>, position: Position): boolean {
    const target = this.replayTarget ?? this.appliedPosition
    if (comparePositions(position, target) < 0) {
      this.replayTarget = target
      meta.push(bookkeeping.reached, encodePosition(target))
      return false
    }
    if (this.replayTarget === undefined) return false
    meta.push(bookkeeping.reached, undefined)
    return true
  }

  private changeTable(changes: ReadonlyArray<number | string | undefined>): void {
    for (let at = 0; at < changes.length; at += 2) {
      const family = changes[at] as number
      const name = changes[at + 1] as string | undefined
      this.table = this.table.with(
        name === undefined ? { type: 'dropFamily', family } : { type: 'createFamily', family, name },
      )
    }
  }

  async checkpoint(): Promise<Position> {
    this.assertOpen()
    return this.proveApplied()
  }

  private async proveApplied(): Promise<Position> {
    // One after another: the second of two may have more to prove than the first.
    while (this.checkpointing !== undefined) await this.checkpointing.catch(nothing)
    invariant(!this.ingesting, 'an engine has a checkpoint only after its ingestion is finished')
    const position = this.appliedPosition
    if (samePosition(this.checkpointed, position)) return position
    await this.flush()
    this.checkpointed = position
    return position
  }

  /** All families together, with the position that lies beside them: afterwards it is proven, or a later one. */
  private async flush(): Promise<void> {
    this.checkpointing = this.database.flush()
    try {
      await this.checkpointing
    } catch (error) {
      throw this.failure(error, 'writing a checkpoint')
    } finally {
      this.checkpointing = undefined
    }
  }

  async get(family: number, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    const view = this.viewOf(family, snapshot)
    try {
      // What lies in memory is read at once: going to another thread and back takes longer than reading it.
      const cached = this.database.getCached(family, key, view)
      if (cached !== null) return cached
      return (await this.database.getMany(family, [key], view))[0]
    } catch (error) {
      throw this.failure(error, 'reading')
    }
  }

  async getMany(
    family: number,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<Array<Uint8Array | undefined>> {
    const view = this.viewOf(family, snapshot)
    try {
      if (keys.length > limits.rocksdbCachedReadsMax) return await this.database.getMany(family, keys, view)
      const values: Array<Uint8Array | undefined> = []
      for (const key of keys) {
        const cached = this.database.getCached(family, key, view)
        // All of them from one moment: what was read so far may be older than what a worker reads.
        if (cached === null) return await this.database.getMany(family, keys, view)
        values.push(cached)
      }
      return values
    } catch (error) {
      throw this.failure(error, 'reading')
    }
  }

  scan(family: number, options: ScanOptions): EngineIterator {
    this.viewOf(family, options.snapshot)
    const { snapshot } = options
    const own = snapshot === undefined ? undefined : rocksdbSnapshotOf(snapshot, this.database, this.directory)
    const iterator = new RocksdbIterator(this.database, this.directory, family, options, own, {
      onClosed: () => this.iterators.delete(iterator),
      failure: (error) => this.failure(error, 'reading'),
    })
    this.iterators.add(iterator)
    return iterator
  }

  snapshot(): EngineSnapshot {
    this.assertOpen()
    try {
      return new RocksdbSnapshot(this.database, this.empty, this.directory)
    } catch (error) {
      throw this.failure(error, 'taking a snapshot')
    }
  }

  async readChunk(snapshot: EngineSnapshot, family: number, start: Uint8Array, bytesMax: number): Promise<EngineChunk> {
    this.assertOpen()
    assertChunkSize(bytesMax)
    const view = this.viewOf(family, snapshot)
    try {
      const { bytes, count, nextKey } = await this.database.readChunk(family, view, start, bytesMax)
      return { bytes, entryCount: count, nextKey }
    } catch (error) {
      throw this.failure(error, 'reading a chunk')
    }
  }

  async sizeEstimateBytes(): Promise<number> {
    this.assertOpen()
    try {
      return await this.database.sizeEstimate()
    } catch (error) {
      throw this.failure(error, 'estimating the size')
    }
  }

  /**
   * A crash loses what was not flushed, content and progress together; content that went into a table file of its own
   * may outlive its progress, and is then fetched again over what is there.
   */
  async ingest(family: Family, chunk: Uint8Array, progress: Uint8Array): Promise<void> {
    await this.write('ingesting a chunk', async () => {
      await this.database.ingest(family.id, family.name, chunk, [bookkeeping.ingestProgress, progress])
      this.ingesting = true
      this.table = this.table.including(family)
    })
  }

  async ingestProgress(): Promise<Uint8Array | undefined> {
    this.assertOpen()
    try {
      return await this.database.getMeta(bookkeeping.ingestProgress)
    } catch (error) {
      throw this.failure(error, 'reading the progress')
    }
  }

  async finishIngest(position: Position, families: readonly Family[], familyIdNext: number): Promise<void> {
    await this.write('finishing an ingestion', async () => {
      const table = new FamilyTable(families, Math.max(familyIdNext, this.table.idNext))
      const list = families.flatMap(({ id, name }) => [id, name])
      await this.database.finishIngest(list, table.idNext, [
        ...[bookkeeping.applied, encodePosition(position)],
        ...[bookkeeping.reached, undefined],
        ...[bookkeeping.ingestProgress, undefined],
      ])
      this.ingesting = false
      this.table = table
      this.setPosition(position)
    })
  }

  async rewind(keys: readonly RewoundKey[], to: Position): Promise<void> {
    invariant(!this.ingesting, 'an engine is rewound only after its ingestion is finished')
    invariant(to.sequence <= this.appliedPosition.sequence, 'an engine is rewound to what it has passed')
    await this.write('rewinding', async () => {
      // A checkpoint under way would name what is taken back here.
      while (this.checkpointing !== undefined) await this.checkpointing.catch(nothing)
      const list = keys.flatMap(({ family, key, value }) => [family, key, value])
      await this.database.write(list, [bookkeeping.applied, encodePosition(to), bookkeeping.reached, undefined])
      this.appliedPosition = to
      await this.flush()
      this.setPosition(to)
    })
  }

  private setPosition(position: Position): void {
    this.appliedPosition = position
    this.checkpointed = position
    this.replayTarget = undefined
  }

  async checkpointFiles(directory: string): Promise<FileCheckpoint> {
    this.assertOpen()
    invariant(!this.ingesting, 'an engine is copied only after its ingestion is finished')
    try {
      await this.database.checkpoint(directory)
    } catch (error) {
      throw this.failure(error, 'making a checkpoint')
    }
    return describeCheckpoint(directory)
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown()
    return this.closing
  }

  private async shutDown(): Promise<void> {
    this.isClosed = true
    for (const iterator of this.iterators) iterator.end()
    this.iterators.clear()
    await this.writing
    try {
      if (this.ingesting) await this.flush()
      else await this.proveApplied()
    } finally {
      await this.database.close()
    }
  }

  /** The view to read in, after the family was looked for in it. */
  private viewOf(family: number, snapshot: EngineSnapshot | undefined): number {
    this.assertOpen()
    if (snapshot === undefined) {
      this.table.demand(family)
      return presentView
    }
    const own = rocksdbSnapshotOf(snapshot, this.database, this.directory)
    own.table.demand(family)
    return own.view
  }

  private failure(error: unknown, doing: string): Error {
    const failure = rocksdbError(error, doing, this.directory)
    if (isDamage(error) && !this.damaged) {
      this.damaged = true
      noteDamage(error, this.directory)
      // Who closes the engine knows already that something is wrong, or hears it from the next open.
      if (!this.isClosed) this.onDamaged(failure)
    }
    return failure
  }

  private assertOpen(): void {
    if (this.isClosed) throw closedError(this.directory)
  }

  private async write(doing: string, work: () => Promise<void>): Promise<void> {
    this.assertOpen()
    invariant(this.writing === undefined, 'an engine is written to by one call at a time')
    const done = work()
    this.writing = done.then(nothing, nothing)
    try {
      await done
    } catch (error) {
      throw this.failure(error, doing)
    } finally {
      this.writing = undefined
    }
  }
}

function nothing(): void {}
