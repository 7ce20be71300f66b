import { encodeChunk, packedEntryBytes } from '../codec/chunk.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { EngineChunk, EngineIterator, EngineSnapshot, ScanOptions } from '../ports/engine.js'
import type { BytesTree } from './bytes-tree.js'
import { assertChunkSize } from './continuity.js'
import type { FamilyTable } from './family-table.js'

type Tree = BytesTree<Uint8Array>
const noBytes = new Uint8Array(0)

export function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'the memory engine, or what was read from, is closed')
}

export class MemorySnapshot implements EngineSnapshot {
  readonly position: Position
  readonly table: FamilyTable
  readonly trees: ReadonlyMap<number, Tree>
  readonly owner: object
  private readonly released: () => void
  private isClosed = false

  constructor(
    position: Position,
    table: FamilyTable,
    trees: ReadonlyMap<number, Tree>,
    owner: object,
    released: () => void,
  ) {
    this.position = position
    this.table = table
    this.trees = trees
    this.owner = owner
    this.released = released
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

  end(): void {
    this.isClosed = true
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.released()
  }
}

export class MemoryIterator implements EngineIterator {
  private readonly tree: Tree
  private readonly options: ScanOptions
  private readonly released: () => void
  private entries: IterableIterator<[Uint8Array, Uint8Array]> | undefined
  private left: number
  private isClosed = false

  /** `tree` is the iterator's own clone. */
  constructor(tree: Tree, options: ScanOptions, released: () => void) {
    this.tree = tree
    // The range is the caller's memory, and read again at every step.
    this.options = {
      ...options,
      ...(options.start === undefined ? {} : { start: new Uint8Array(options.start) }),
      ...(options.end === undefined ? {} : { end: new Uint8Array(options.end) }),
    }
    this.released = released
    this.left = options.limit === undefined || options.limit < 0 ? Number.POSITIVE_INFINITY : options.limit
    this.rewind()
  }

  async next(size: number): Promise<Array<[Uint8Array, Uint8Array]>> {
    if (this.isClosed) throw closedError()
    const result: Array<[Uint8Array, Uint8Array]> = []
    const keys = this.options.keys !== false
    const values = this.options.values !== false
    let bytes = 0
    while (this.entries !== undefined && result.length < size && this.left > 0 && bytes <= limits.scanBytes) {
      const step = this.entries.next()
      if (step.done === true || !this.inRange(step.value[0])) {
        this.entries = undefined
        break
      }
      const [key, value] = step.value
      this.left--
      result.push([keys ? Buffer.from(key) : noBytes, values ? Buffer.from(value) : noBytes])
      bytes += (keys ? key.length : 0) + (values ? value.length : 0)
    }
    return result
  }

  seek(target: Uint8Array): void {
    if (this.isClosed) return
    this.entries = this.inRange(target) ? this.from(target, false) : undefined
  }

  end(): void {
    this.isClosed = true
    this.entries = undefined
  }

  async close(): Promise<void> {
    this.end()
    this.released()
  }

  private rewind(): void {
    const { reverse, start, startOpen, end, endClosed } = this.options
    this.entries = reverse === true ? this.from(end, endClosed !== true) : this.from(start, startOpen === true)
  }

  private from(
    key: Uint8Array | undefined,
    skipEqual: boolean,
  ): IterableIterator<[Uint8Array, Uint8Array]> | undefined {
    if (this.tree.isEmpty) return undefined
    if (this.options.reverse === true) return this.tree.entriesReversed(key, undefined, skipEqual)
    const entries = this.tree.entries(key)
    if (skipEqual && key !== undefined && this.tree.has(key)) entries.next()
    return entries
  }

  private inRange(key: Uint8Array): boolean {
    const { start, startOpen, end, endClosed } = this.options
    if (start !== undefined) {
      const order = Buffer.compare(key, start)
      if (order < 0 || (order === 0 && startOpen === true)) return false
    }
    if (end === undefined) return true
    const order = Buffer.compare(key, end)
    return order < 0 || (order === 0 && endClosed === true)
  }
}

/** Entries from `start` on until they pass `bytesMax`, and the key that follows. */
export function readMemoryChunk(tree: Tree, start: Uint8Array, bytesMax: number): EngineChunk {
  assertChunkSize(bytesMax)
  const entries: Array<[Uint8Array, Uint8Array]> = []
  let total = 0
  if (!tree.isEmpty) {
    for (const [key, value] of tree.entries(start)) {
      if (entries.length > 0 && total + packedEntryBytes(key, value) > bytesMax) {
        return { bytes: encodeChunk(entries), entryCount: entries.length, nextKey: Buffer.from(key) }
      }
      entries.push([key, value])
      total += packedEntryBytes(key, value)
    }
  }
  return { bytes: encodeChunk(entries), entryCount: entries.length, nextKey: undefined }
}
