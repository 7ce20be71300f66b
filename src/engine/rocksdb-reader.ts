import { decodeChunk } from '../codec/chunk.js'
import type { Family } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { EngineIterator, EngineSnapshot, KeyRange, ScanOptions } from '../ports/engine.js'
import type { FamilyTable } from './family-table.js'
import { type Database, presentView } from './rocksdb-addon.js'
import { closedError } from './rocksdb-errors.js'
import { Bookkeeping, bookkeeping } from './rocksdb-keys.js'
import { decodePosition } from './store-meta.js'

const zero = Buffer.from([0])

export class RocksdbSnapshot implements EngineSnapshot {
  readonly position: Position
  readonly table: FamilyTable
  readonly view: number
  readonly owner: Database
  private isClosed = false

  /** `empty` is the position of a store to which nothing was applied yet. */
  constructor(database: Database, empty: Position, directory: string) {
    this.owner = database
    const { handle, meta } = database.createView()
    this.view = handle
    // Read from inside the snapshot (F6): what the engine remembers may be ahead of it.
    const found = new Bookkeeping(meta, directory)
    const applied = found.get(bookkeeping.applied)
    this.position = applied === undefined ? empty : decodePosition(applied, 'applied', directory)
    this.table = found.table
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
    if (this.isClosed) return
    this.isClosed = true
    this.owner.releaseView(this.view)
  }
}

/** The snapshot as this engine made it. */
export function rocksdbSnapshotOf(snapshot: EngineSnapshot, database: Database, directory: string): RocksdbSnapshot {
  invariant(snapshot instanceof RocksdbSnapshot, 'a snapshot is used with the engine that made it')
  // A snapshot of an engine that was closed and opened again, after a resync for example.
  if (snapshot.closed || snapshot.owner !== database) throw closedError(directory)
  return snapshot
}

/** Half-open, as the addon takes it: the first key after `key` is the key and a zero byte. */
function bounds(range: KeyRange): { readonly lower: Uint8Array | undefined; readonly upper: Uint8Array | undefined } {
  const { start, end } = range
  return {
    lower: start !== undefined && range.startOpen === true ? Buffer.concat([start, zero]) : start,
    upper: end !== undefined && range.endClosed === true ? Buffer.concat([end, zero]) : end,
  }
}

/** The engine that an iterator reads from. */
export interface IteratorOwner {
  onClosed(): void
  /** What the addon said, as a coded error; notes damage. */
  failure(error: unknown): Error
}

/** Entries come from the addon packed, in steps that grow, and are unpacked as they are asked for. */
export class RocksdbIterator implements EngineIterator {
  private readonly database: Database
  private readonly directory: string
  private readonly cursor: number
  private readonly owner: IteratorOwner
  private ready: Array<[Uint8Array, Uint8Array]> = []
  /** Of `ready`, what was handed over. */
  private taken = 0
  private left: number
  private step: number = limits.scanEntriesMin
  private ended = false
  private isClosed = false
  private target: Uint8Array | undefined
  private running: Promise<unknown> | undefined

  constructor(
    database: Database,
    directory: string,
    family: number,
    options: ScanOptions,
    snapshot: RocksdbSnapshot | undefined,
    owner: IteratorOwner,
  ) {
    this.database = database
    this.directory = directory
    this.owner = owner
    this.left = options.limit === undefined || options.limit < 0 ? Number.MAX_SAFE_INTEGER : options.limit
    const { lower, upper } = bounds(options)
    const reverse = options.reverse === true
    const keys = options.keys !== false
    const values = options.values !== false
    try {
      const view = snapshot?.view ?? presentView
      this.cursor = database.createCursor(family, view, lower, upper, reverse, keys, values)
    } catch (error) {
      throw owner.failure(error)
    }
  }

  async next(size: number): Promise<Array<[Uint8Array, Uint8Array]>> {
    if (this.isClosed) throw closedError(this.directory)
    const wanted = Math.min(size, this.left)
    if (wanted <= 0) return []
    if (this.taken === this.ready.length && !this.ended) await this.fetch(wanted)
    const entries =
      this.taken === 0 && this.ready.length <= wanted ? this.ready : this.ready.slice(this.taken, this.taken + wanted)
    this.taken += entries.length
    this.left -= entries.length
    if (this.taken === this.ready.length) this.drop()
    return entries
  }

  /** One step of the cursor. What was never asked for is read ahead only as far as the limit. */
  private async fetch(wanted: number): Promise<void> {
    const { target } = this
    this.target = undefined
    const count = Math.min(Math.max(wanted, this.step), limits.scanEntriesMax, this.left)
    this.step = Math.min(this.step * 4, limits.scanEntriesMax)
    const running = this.database.advance(this.cursor, target, count, limits.scanBytes)
    this.running = running
    try {
      const { bytes, ended } = await running
      this.ready = [...decodeChunk(bytes)]
      this.taken = 0
      this.ended = ended
    } catch (error) {
      throw this.owner.failure(error)
    } finally {
      this.running = undefined
    }
  }

  seek(target: Uint8Array): void {
    if (this.isClosed) return
    // A copy: the caller may go on with its bytes before the next step.
    this.target = Buffer.from(target)
    this.ended = false
    this.drop()
  }

  private drop(): void {
    this.ready = []
    this.taken = 0
  }

  /** The engine closes, and its cursors with it. */
  end(): void {
    this.isClosed = true
    this.drop()
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.end()
    this.owner.onClosed()
    await this.running?.catch(() => undefined)
    this.database.releaseCursor(this.cursor)
  }
}
