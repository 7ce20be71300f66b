import type { AbstractIterator, AbstractSnapshot } from 'abstract-level'
import type { ClassicLevel } from 'classic-level'
import { encodeChunk, packedEntryBytes } from '../codec/chunk.js'
import type { Family } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { EngineChunk, EngineIterator, EngineSnapshot, ScanOptions } from '../ports/engine.js'
import type { FamilyTable } from './family-table.js'
import { closedError, levelError } from './level-errors.js'
import { dataKey, familyEnd, levelRange, metaKeys, prefixBytes } from './level-keys.js'
import { decodeFamilyTable, decodePosition } from './store-meta.js'

export type LevelStore = ClassicLevel<Uint8Array, Uint8Array>
type StoreIterator = AbstractIterator<LevelStore, Uint8Array, Uint8Array>

const noBytes = new Uint8Array(0)

/** Classic-level's own iterator stops a step at this many bytes; its types leave the option out of `iterator()`. */
interface StoreIteratorOptions extends ReturnType<typeof levelRange> {
  reverse?: boolean
  limit?: number
  keys?: boolean
  values?: boolean
  snapshot?: AbstractSnapshot
  highWaterMarkBytes?: number
}

export class LevelSnapshot implements EngineSnapshot {
  readonly position: Position
  readonly table: FamilyTable
  readonly store: AbstractSnapshot
  readonly owner: LevelStore
  private isClosed = false

  /** `empty` is the position of a store to which nothing was applied yet. */
  constructor(level: LevelStore, empty: Position, directory: string) {
    this.owner = level
    this.store = level.snapshot()
    // Read from inside the snapshot (F6): what the engine remembers may be ahead of it.
    const applied = level.getSync(metaKeys.applied, { snapshot: this.store })
    const families = level.getSync(metaKeys.families, { snapshot: this.store })
    invariant(families !== undefined, 'a store has a family table')
    this.position = applied === undefined ? empty : decodePosition(applied, 'applied', directory)
    this.table = decodeFamilyTable(families, directory)
  }

  get families(): readonly Family[] {
    return this.table.families
  }

  get familyIdNext(): number {
    return this.table.idNext
  }

  get closed(): boolean {
    return this.isClosed
  }

  async close(): Promise<void> {
    this.isClosed = true
    await this.store.close()
  }
}

/** The snapshot as this engine made it. */
export function levelSnapshotOf(snapshot: EngineSnapshot, level: LevelStore, directory: string): LevelSnapshot {
  invariant(snapshot instanceof LevelSnapshot, 'a snapshot is used with the engine that made it')
  // A snapshot of an engine that was closed and opened again, after a resync for example.
  if (snapshot.closed || snapshot.owner !== level) throw closedError(directory)
  return snapshot
}

export class LevelIterator implements EngineIterator {
  private readonly iterator: StoreIterator
  private readonly directory: string
  private readonly family: number
  private readonly keys: boolean
  private readonly values: boolean

  constructor(
    level: LevelStore,
    directory: string,
    family: number,
    options: ScanOptions,
    snapshot: LevelSnapshot | undefined,
  ) {
    this.directory = directory
    this.family = family
    this.keys = options.keys !== false
    this.values = options.values !== false
    const storeOptions: StoreIteratorOptions = {
      ...levelRange(family, options),
      reverse: options.reverse === true,
      limit: options.limit ?? -1,
      // LevelDB counts entries by their keys, so that one of the two must be read.
      keys: this.keys || !this.values,
      values: this.values,
      highWaterMarkBytes: limits.scanBytes,
    }
    if (snapshot !== undefined) storeOptions.snapshot = snapshot.store
    try {
      this.iterator = level.iterator(storeOptions)
    } catch (error) {
      throw levelError(error, 'reading', directory)
    }
  }

  async next(size: number): Promise<Array<[Uint8Array, Uint8Array]>> {
    let entries: Array<[Uint8Array, Uint8Array]>
    try {
      entries = await this.iterator.nextv(size)
    } catch (error) {
      throw levelError(error, 'reading', this.directory)
    }
    for (const entry of entries) {
      entry[0] = this.keys ? entry[0].subarray(prefixBytes) : noBytes
      if (!this.values) entry[1] = noBytes
    }
    return entries
  }

  seek(target: Uint8Array): void {
    this.iterator.seek(dataKey(this.family, target))
  }

  async close(): Promise<void> {
    await this.iterator.close()
  }
}

/** Entries from `start` on until they pass `bytesMax`, and the key that follows. */
export async function readLevelChunk(
  level: LevelStore,
  directory: string,
  snapshot: LevelSnapshot,
  family: number,
  start: Uint8Array,
  bytesMax: number,
): Promise<EngineChunk> {
  const options: StoreIteratorOptions = {
    gte: dataKey(family, start),
    lt: familyEnd(family),
    snapshot: snapshot.store,
    highWaterMarkBytes: Math.min(bytesMax, limits.chunkBytes),
  }
  const entries: Array<[Uint8Array, Uint8Array]> = []
  let total = 0
  let nextKey: Uint8Array | undefined
  let iterator: StoreIterator | undefined
  try {
    iterator = level.iterator(options)
    let ended = false
    while (!ended && nextKey === undefined) {
      const some = await iterator.nextv(total < bytesMax ? limits.scanEntriesMax : 1)
      ended = some.length === 0
      for (const [storeKey, value] of some) {
        const key = storeKey.subarray(prefixBytes)
        if (entries.length > 0 && total + packedEntryBytes(key, value) > bytesMax) {
          nextKey = key
          break
        }
        entries.push([key, value])
        total += packedEntryBytes(key, value)
      }
    }
  } catch (error) {
    throw levelError(error, 'reading a chunk', directory)
  } finally {
    await iterator?.close()
  }
  return { bytes: encodeChunk(entries), entryCount: entries.length, nextKey }
}
