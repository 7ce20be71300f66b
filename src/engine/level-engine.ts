import { decodeChunk } from '../codec/chunk.js'
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
  RewoundKey,
  ScanOptions,
} from '../ports/engine.js'
import { assertChunkSize, assertContinues } from './continuity.js'
import { FamilyTable } from './family-table.js'
import { familyBounds, LevelBatch, type LevelOperation } from './level-batch.js'
import { closedError, levelError } from './level-errors.js'
import { aboveAll, dataEnd, dataKey, dataStart, metaKeys, purgeKey } from './level-keys.js'
import { LevelIterator, LevelSnapshot, type LevelStore, levelSnapshotOf, readLevelChunk } from './level-reader.js'
import { encodeFamilyTable, encodePosition } from './store-meta.js'

export interface LevelEngineParts {
  readonly level: LevelStore
  readonly directory: string
  readonly empty: Position
  readonly opened: EngineState
  readonly table: FamilyTable
  readonly ingesting: boolean
  /** Dropped families whose keys are still there. */
  readonly purges: readonly number[]
}

const noKey = new Uint8Array(0)

export class LevelEngine implements Engine {
  readonly kind = 'level'
  readonly volatile = false
  readonly opened: EngineState
  private readonly level: LevelStore
  private readonly directory: string
  private readonly empty: Position
  /** The highest position that batches of an earlier process named; undefined once this one has passed it. */
  private replayTarget: Position | undefined
  /** Since the last flush. */
  private writtenBytes = 0
  private table: FamilyTable
  private ingesting: boolean
  private appliedPosition: Position
  /**
   * What this process knows the content to be the fold of: the checkpoint, then what was applied since. What an
   * earlier process applied after its checkpoint may have holes after a power loss, and is never proven here.
   */
  private folded: Position
  private checkpointed: Position
  private checkpointing: Promise<void> | undefined
  private writing: Promise<void> | undefined
  private purging: Promise<void> = Promise.resolve()
  /** A purge that failed in the background: told by the next write. */
  private purgeFailure: unknown
  private isClosed = false
  private closing: Promise<void> | undefined

  constructor(parts: LevelEngineParts) {
    this.level = parts.level
    this.directory = parts.directory
    this.empty = parts.empty
    this.opened = parts.opened
    this.table = parts.table
    this.ingesting = parts.ingesting
    this.appliedPosition = parts.opened.applied ?? parts.empty
    this.checkpointed = parts.opened.checkpoint ?? parts.empty
    this.folded = this.checkpointed
    this.replayTarget = parts.opened.applied
    for (const family of parts.purges) this.startPurge(family)
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
    assertContinues(this.folded, first)
    await this.write('applying blocks', async () => {
      const batch = new LevelBatch(this.table, (start, end, visit) => this.visitKeys(start, end, visit))
      for (const block of blocks) await batch.add(block)
      const { operations, table } = batch
      if (table !== this.table) {
        operations.push({ type: 'put', key: metaKeys.families, value: encodeFamilyTable(table) })
      }
      operations.push({ type: 'put', key: metaKeys.applied, value: encodePosition(last.end) })
      const replayed = this.pushReached(operations, last.end)
      await this.level.batch(operations)
      for (const block of blocks) this.writtenBytes += block.bytes.length
      this.table = table
      this.appliedPosition = last.end
      this.folded = last.end
      if (replayed) this.replayTarget = undefined
      for (const family of batch.dropped) this.startPurge(family)
    })
  }

  /**
   * While a journal is replayed the applied position goes through old values again. What the store had reached
   * before is kept beside it, or a crash in the middle would make the store look younger than it is.
   */
  private pushReached(operations: LevelOperation[], position: Position): boolean {
    const target = this.replayTarget
    if (target === undefined) return false
    if (comparePositions(position, target) < 0) {
      operations.push({ type: 'put', key: metaKeys.reached, value: encodePosition(target) })
      return false
    }
    operations.push({ type: 'del', key: metaKeys.reached })
    return true
  }

  /** Keys only: the values of a range that is deleted are of no interest. */
  private async visitKeys(start: Buffer, end: Buffer, visit: (key: Uint8Array) => void): Promise<void> {
    const iterator = this.level.keys({ gte: start, lt: end })
    try {
      for (;;) {
        const keys = await iterator.nextv(limits.scanEntriesMax)
        if (keys.length === 0) return
        for (const key of keys) visit(key)
      }
    } finally {
      await iterator.close()
    }
  }

  async checkpoint(): Promise<Position> {
    this.assertOpen()
    return this.proveFolded()
  }

  private async proveFolded(): Promise<Position> {
    // One after another: the second of two may have more to prove than the first.
    while (this.checkpointing !== undefined) await this.checkpointing.catch(() => undefined)
    invariant(!this.ingesting, 'an engine has a checkpoint only after its ingestion is finished')
    const position = this.folded
    if (samePosition(this.checkpointed, position)) return position
    this.checkpointing = this.flush([{ type: 'put', key: metaKeys.checkpoint, value: encodePosition(position) }])
    try {
      await this.checkpointing
      this.checkpointed = position
      return position
    } finally {
      this.checkpointing = undefined
    }
  }

  /**
   * Everything written so far into synced table files, then `operations` with a sync. LevelDB's own log cannot be
   * relied on instead: when it changes files it does not sync the old one, and its recovery skips what is damaged.
   * A compaction writes the memory table out first, and here has nothing else to do, as no key lies in its range.
   * It reports no error, but LevelDB refuses all writes after a failed one: the synced write is the proof.
   */
  private async flush(operations: readonly LevelOperation[]): Promise<void> {
    try {
      await this.level.compactRange(aboveAll, aboveAll)
      this.writtenBytes = 0
      await this.level.batch([...operations], { sync: true })
    } catch (error) {
      throw levelError(error, 'writing a checkpoint', this.directory)
    }
  }

  async get(family: number, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    this.assertOpen()
    const storeKey = dataKey(family, key)
    try {
      if (snapshot === undefined) {
        this.table.demand(family)
        return await this.level.get(storeKey)
      }
      const own = levelSnapshotOf(snapshot, this.level, this.directory)
      own.table.demand(family)
      return await this.level.get(storeKey, { snapshot: own.store })
    } catch (error) {
      throw levelError(error, 'reading', this.directory)
    }
  }

  async getMany(
    family: number,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<Array<Uint8Array | undefined>> {
    this.assertOpen()
    const storeKeys = keys.map((key) => dataKey(family, key))
    try {
      if (snapshot === undefined) {
        this.table.demand(family)
        return await this.level.getMany(storeKeys)
      }
      const own = levelSnapshotOf(snapshot, this.level, this.directory)
      own.table.demand(family)
      return await this.level.getMany(storeKeys, { snapshot: own.store })
    } catch (error) {
      throw levelError(error, 'reading', this.directory)
    }
  }

  scan(family: number, options: ScanOptions): EngineIterator {
    this.assertOpen()
    const snapshot =
      options.snapshot === undefined ? undefined : levelSnapshotOf(options.snapshot, this.level, this.directory)
    const table = snapshot?.table ?? this.table
    table.demand(family)
    return new LevelIterator(this.level, this.directory, family, options, snapshot)
  }

  snapshot(): EngineSnapshot {
    this.assertOpen()
    return new LevelSnapshot(this.level, this.empty, this.directory)
  }

  async readChunk(snapshot: EngineSnapshot, family: number, start: Uint8Array, bytesMax: number): Promise<EngineChunk> {
    this.assertOpen()
    assertChunkSize(bytesMax)
    const own = levelSnapshotOf(snapshot, this.level, this.directory)
    own.table.demand(family)
    return readLevelChunk(this.level, this.directory, own, family, start, bytesMax)
  }

  async sizeEstimateBytes(): Promise<number> {
    this.assertOpen()
    try {
      // LevelDB counts table files only; what it still has in memory is about the rest of a full write buffer.
      const inMemory = this.writtenBytes % limits.engineWriteBufferBytes
      return (await this.level.approximateSize(dataStart, dataEnd)) + inMemory
    } catch (error) {
      throw levelError(error, 'estimating the size', this.directory)
    }
  }

  async ingest(family: Family, chunk: Uint8Array, progress: Uint8Array): Promise<void> {
    await this.write('ingesting a chunk', async () => {
      const table = this.table.including(family)
      const operations: LevelOperation[] = []
      for (const [key, value] of decodeChunk(chunk)) {
        operations.push({ type: 'put', key: dataKey(family.id, key), value })
      }
      operations.push({ type: 'put', key: metaKeys.families, value: encodeFamilyTable(table) })
      operations.push({ type: 'put', key: metaKeys.ingestProgress, value: progress })
      // Synced, every chunk: otherwise a power loss could keep a later chunk with its progress and lose an earlier one.
      this.ingesting = true
      await this.level.batch(operations, { sync: true })
      this.writtenBytes += chunk.length
      this.table = table
    })
  }

  async ingestProgress(): Promise<Uint8Array | undefined> {
    this.assertOpen()
    try {
      return await this.level.get(metaKeys.ingestProgress)
    } catch (error) {
      throw levelError(error, 'reading the progress', this.directory)
    }
  }

  async finishIngest(position: Position, families: readonly Family[], familyIdNext: number): Promise<void> {
    await this.write('finishing an ingestion', async () => {
      const surplus = this.table.families.filter(({ id }) => !families.some((family) => family.id === id))
      const table = new FamilyTable(families, Math.max(familyIdNext, this.table.idNext))
      await this.flush([
        ...surplus.map(({ id }): LevelOperation => ({ type: 'put', key: purgeKey(id), value: noKey })),
        { type: 'put', key: metaKeys.families, value: encodeFamilyTable(table) },
        { type: 'put', key: metaKeys.applied, value: encodePosition(position) },
        { type: 'put', key: metaKeys.checkpoint, value: encodePosition(position) },
        { type: 'del', key: metaKeys.reached },
        { type: 'del', key: metaKeys.ingestProgress },
      ])
      this.ingesting = false
      this.table = table
      this.appliedPosition = position
      this.folded = position
      this.checkpointed = position
      this.replayTarget = undefined
      for (const { id } of surplus) this.startPurge(id)
    })
  }

  async rewind(keys: readonly RewoundKey[], to: Position): Promise<void> {
    invariant(!this.ingesting, 'an engine is rewound only after its ingestion is finished')
    invariant(to.sequence <= this.folded.sequence, 'an engine is rewound to what it has passed')
    await this.write('rewinding', async () => {
      const operations: LevelOperation[] = []
      for (const { family, key, value } of keys) {
        if (!this.table.has(family)) continue
        const storeKey = dataKey(family, key)
        operations.push(value === undefined ? { type: 'del', key: storeKey } : { type: 'put', key: storeKey, value })
      }
      operations.push(
        { type: 'put', key: metaKeys.applied, value: encodePosition(to) },
        { type: 'put', key: metaKeys.checkpoint, value: encodePosition(to) },
        { type: 'del', key: metaKeys.reached },
      )
      // A checkpoint under way would name what is taken back here.
      while (this.checkpointing !== undefined) await this.checkpointing.catch(nothing)
      this.checkpointing = this.flush(operations)
      try {
        await this.checkpointing
      } finally {
        this.checkpointing = undefined
      }
      this.appliedPosition = to
      this.folded = to
      this.checkpointed = to
      this.replayTarget = undefined
    })
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown()
    return this.closing
  }

  private async shutDown(): Promise<void> {
    this.isClosed = true
    await this.writing
    await this.purging
    try {
      if (!this.ingesting) await this.proveFolded()
    } finally {
      await this.level.close()
    }
  }

  private assertOpen(): void {
    if (this.isClosed) throw closedError(this.directory)
  }

  private async write(doing: string, work: () => Promise<void>): Promise<void> {
    this.assertOpen()
    invariant(this.writing === undefined, 'an engine is written to by one call at a time')
    if (this.purgeFailure !== undefined) {
      throw levelError(this.purgeFailure, 'deleting the keys of a dropped family', this.directory)
    }
    const done = work()
    this.writing = done.then(nothing, nothing)
    try {
      await done
    } catch (error) {
      throw levelError(error, doing, this.directory)
    } finally {
      this.writing = undefined
    }
  }

  /** In steps and one family after another; what a close or crash leaves is gone on with at the next open. */
  private startPurge(family: number): void {
    this.purging = this.purging
      .then(() => this.purge(family))
      .catch((error: unknown) => {
        this.purgeFailure ??= error
      })
  }

  private async purge(family: number): Promise<void> {
    if (this.isClosed) return
    const { start, end } = familyBounds(family)
    const iterator = this.level.keys({ gte: start, lt: end })
    try {
      for (;;) {
        const keys = await iterator.nextv(limits.purgeKeys)
        if (keys.length === 0) break
        await this.level.batch(keys.map((key) => ({ type: 'del', key })))
        if (this.isClosed) return
      }
    } finally {
      await iterator.close()
    }
    await this.level.del(purgeKey(family))
  }
}

function nothing(): void {}
