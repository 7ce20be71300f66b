import type { Block, Family } from '../core/entry.js'
import type { Position } from '../core/position.js'

/** Ordered by unsigned bytes. `start` inclusive unless `startOpen`; `end` exclusive unless `endClosed`. */
export interface KeyRange {
  readonly start?: Uint8Array
  readonly startOpen?: boolean
  readonly end?: Uint8Array
  readonly endClosed?: boolean
}

export interface ScanOptions extends KeyRange {
  readonly reverse?: boolean
  /** Entries at most; absent or -1: all. */
  readonly limit?: number
  /** Leave out what is not wanted; then the other is an empty array of bytes. */
  readonly keys?: boolean
  readonly values?: boolean
  readonly snapshot?: EngineSnapshot
}

/** A consistent view. `position` was read from inside it (F6). It must be closed; closing the engine closes it. */
export interface EngineSnapshot {
  readonly position: Position
  readonly families: readonly Family[]
  readonly familyIdNext: number
  close(): Promise<void>
}

export interface EngineIterator {
  /** Next entries, at most `size`; empty at the end. */
  next(size: number): Promise<Array<[Uint8Array, Uint8Array]>>
  /** Goes to the first key at or after (in reverse: at or before) `target`, within the range. */
  seek(target: Uint8Array): void
  close(): Promise<void>
}

/** A packed run of entries of one family, in key order, as the codec's chunk encodes it. */
export interface EngineChunk {
  readonly bytes: Uint8Array
  readonly entryCount: number
  /** First key after the chunk; undefined when the family ends here. */
  readonly nextKey: Uint8Array | undefined
}

/**
 * An ordered key-value store that holds the fold of a shard's entries, and the position up to which it does.
 * It is opened for one process; the journal is its write-ahead log. Keys and values are bytes and belong to the
 * engine's caller after a read and to the engine during a write.
 */
export interface Engine {
  readonly kind: EngineKind
  /** True if everything is lost when the process ends. */
  readonly volatile: boolean
  /** What was found at open; see `EngineState`. */
  readonly opened: EngineState
  /** Position of the last block applied in this process (or found at open). */
  readonly applied: Position
  readonly families: readonly Family[]
  /**
   * One above the highest family id ever seen. The next family gets it: ids of dropped families are never reused,
   * because their keys may still lie in an engine (invisible, until they are purged) and in journals to replay.
   */
  readonly familyIdNext: number

  /**
   * Applies whole blocks in order, and the position after the last, in one atomic batch. One call at a time.
   * Creating a family whose id was seen before and dropping one that does not exist do nothing; operations on ids
   * that do not exist (dropped later in the journal that is replayed) are skipped. New families come in the order
   * of their ids.
   */
  apply(blocks: readonly Block[]): Promise<void>
  /**
   * Makes everything applied so far durable and returns that position: proven by a flush or synced write,
   * never read from memory alone. The journal before it may go.
   */
  checkpoint(): Promise<Position>

  get(family: number, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined>
  getMany(
    family: number,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<Array<Uint8Array | undefined>>
  scan(family: number, options: ScanOptions): EngineIterator
  snapshot(): EngineSnapshot

  /** Entries from `start` on, at least one if there is any, about `bytesMax` bytes. */
  readChunk(snapshot: EngineSnapshot, family: number, start: Uint8Array, bytesMax: number): Promise<EngineChunk>
  /** A rough size of everything, for progress; never for a decision. */
  sizeEstimateBytes(): Promise<number>

  /** Bootstrap only: creates the family if needed, writes a chunk and `progress` in one atomic batch. */
  ingest(family: Family, chunk: Uint8Array, progress: Uint8Array): Promise<void>
  /** What the last `ingest` stored, undefined before the first. */
  ingestProgress(): Promise<Uint8Array | undefined>
  /** Bootstrap only: declares the content complete as of `position` with these families, durably; clears progress. */
  finishIngest(position: Position, families: readonly Family[], familyIdNext: number): Promise<void>

  /**
   * Rejoin only: sets these keys to what another history has, and takes the applied position and the checkpoint back
   * to `to`, at or below what is applied: all in one atomic batch, durable when it resolves. The only call after
   * which `applied` is lower. Keys of families that do not exist are skipped.
   */
  rewind(keys: readonly RewoundKey[], to: Position): Promise<void>

  /**
   * Only of engines with `files`: flushes, and links or copies all files into `directory`, which must not exist and
   * lie on the file system of the store. Reads and writes go on meanwhile.
   */
  checkpointFiles?(directory: string): Promise<FileCheckpoint>

  /** Ends iterators and snapshots (their next call rejects with `CLOSED`), then closes. Idempotent. */
  close(): Promise<void>
}

/** A consistent copy of a store, as files. `position` and families were read from inside of the copy. */
export interface FileCheckpoint {
  readonly position: Position
  readonly families: readonly Family[]
  readonly familyIdNext: number
  readonly files: readonly StoredFile[]
}

export interface StoredFile {
  readonly name: string
  readonly bytes: number
  /** As `EngineFiles.checksum` finds it in a file that is what it was. */
  readonly checksum: number
}

/** What is to be known of an engine whose store can be copied as files, without reading it key by key. */
export interface EngineFiles {
  /** Two nodes exchange files only if this is the same for both. */
  readonly format: string
  /** Reads the whole file. */
  checksum(path: string): Promise<{ readonly bytes: number; readonly checksum: number }>
}

export interface RewoundKey {
  readonly family: number
  readonly key: Uint8Array
  /** Undefined: the key does not exist. */
  readonly value: Uint8Array | undefined
}

export type EngineKind = 'level' | 'rocksdb' | 'memory'

/**
 * `checkpoint`: the proven position from which the journal must be replayed; undefined for an engine without
 * content. `applied`: the highest position that any surviving batch named, at or above the checkpoint: entries up
 * to there were committed.
 */
export interface EngineState {
  readonly checkpoint: Position | undefined
  readonly applied: Position | undefined
}

export interface EngineFactory {
  readonly kind: EngineKind
  readonly files?: EngineFiles
  /**
   * Opens or creates the store in `directory`. `empty` is the position of a new history (sequence 0). `onDamaged` is
   * told once, with an error that names the file, when damage is met while the store is in use; whoever asked is told
   * besides.
   */
  open(directory: string, empty: Position, onDamaged?: (error: Error) => void): Promise<Engine>
}
