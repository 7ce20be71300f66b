import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { bookkeeping } from './rocksdb-keys.js'

/** What the addon throws and rejects with: `code` is one of these words, the message RocksDB's own. */
export type AddonFailure =
  | 'CORRUPTION'
  /** A block that was to be applied, not the store. */
  | 'BLOCK'
  | 'DISK_FULL'
  | 'LOCKED'
  | 'IO'
  | 'MEMORY'
  | 'CLOSED'
  | 'PROTOCOL'
  | 'FAMILY'
  | 'INVARIANT'
  /** A setting that this build of RocksDB does not have. */
  | 'CONFIG'

export interface Packed {
  /** Entries as the codec's chunk encodes them. */
  readonly bytes: Buffer
  readonly count: number
  /** Nothing follows in the direction of the cursor. */
  readonly ended: boolean
  readonly nextKey: Buffer | undefined
}

/** Flat: key, value, key, value, ... An undefined value deletes the key. */
export type MetaChanges = ReadonlyArray<Uint8Array | undefined>

/** Stands for the present content wherever a view is asked for. */
export const presentView = 0

/**
 * The addon's one class, see native/rocksdb/src/addon.cc. Calls that return promises run on worker threads; the
 * others do not wait for the disk. Views and cursors are numbers, gone when the store is closed.
 */
export interface Database {
  open(directory: string): Promise<{ readonly foreign: boolean; readonly meta: readonly Buffer[] }>
  adopt(families: readonly number[], idNext: number): Promise<void>
  /** Waits for calls that run; those that come later reject with CLOSED. Nothing is flushed. Idempotent. */
  close(): Promise<void>

  /** Answers what changed in the table of families, flat: id, name or undefined (dropped), ... */
  apply(blocks: readonly Uint8Array[], meta: MetaChanges): Promise<ReadonlyArray<number | string | undefined>>
  /** Flat: family, key, value or undefined, ... */
  write(keys: ReadonlyArray<number | Uint8Array | undefined>, meta: MetaChanges): Promise<void>
  flush(): Promise<void>
  /** Flushes, then links all files into a directory that must not exist. */
  checkpoint(directory: string): Promise<void>
  ingest(family: number, name: string, chunk: Uint8Array, meta: MetaChanges): Promise<void>
  /** Families flat: id, name, ... Durable when it resolves. */
  finishIngest(families: ReadonlyArray<number | string>, idNext: number, meta: MetaChanges): Promise<void>

  /** Null where only the disk knows. */
  getCached(family: number, key: Uint8Array, view: number): Buffer | undefined | null
  getMany(family: number, keys: readonly Uint8Array[], view: number): Promise<Array<Buffer | undefined>>
  getMeta(key: Uint8Array): Promise<Buffer | undefined>
  readChunk(family: number, view: number, start: Uint8Array, bytesMax: number): Promise<Packed>
  sizeEstimate(): Promise<number>

  createView(): { readonly handle: number; readonly meta: readonly Buffer[] }
  releaseView(view: number): void
  /** The range is half-open: `lower` is in it, `upper` is not. */
  createCursor(
    family: number,
    view: number,
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
    reverse: boolean,
    keys: boolean,
    values: boolean,
  ): number
  advance(cursor: number, seek: Uint8Array | undefined, count: number, bytesMax: number): Promise<Packed>
  releaseCursor(cursor: number): void
}

export interface DescribedFiles {
  readonly meta: readonly Buffer[]
  readonly files: ReadonlyArray<string | number>
}

interface Addon {
  readonly Database: new (options: object) => Database
  /** What a checkpoint holds; nobody may have it open. `files` is flat: name, bytes, checksum, ... */
  describeFiles(directory: string): Promise<DescribedFiles>
  /** CRC-32C of a whole file. */
  checksumFile(path: string): Promise<{ readonly bytes: number; readonly checksum: number }>
  /** Stores of every thread, at once. */
  closeAll(): void
}

const require = createRequire(import.meta.url)
const built = fileURLToPath(new URL('../../native/rocksdb/build/Release/understudy_rocksdb.node', import.meta.url))
const prebuilt = `understudy-db-rocksdb-${process.platform}-${process.arch}`
/** Another file instead of both, as of a build with a sanitizer. */
const named = process.env.UNDERSTUDY_ROCKSDB_ADDON

let loaded: Addon | undefined

/** How RocksDB is set up; the same for all families of a store, and free to change from one start to the next. */
export interface RocksdbSettings {
  /** Of the block cache, which all families share; indexes and filters are in it. */
  readonly cacheBytes: number
  /** Of all families together, before they are written out. */
  readonly writeBufferBytes: number
  /** Undefined: the best of those in this build that cost little. */
  readonly compression: RocksdbCompression | undefined
  /** Of the bloom filters; 0: none. */
  readonly bloomBitsPerKey: number
}

export type RocksdbCompression = 'lz4' | 'snappy' | 'zstd' | 'none'

/** A new, closed store. Throws `CONFIG` where the addon was not built. */
export function createDatabase(settings: RocksdbSettings): Database {
  const addon = useAddon()
  const { keyBytesMax, valueBytesMax, familyNameBytesMax, batchOperationsMax, blockOriginsMax, blockEntriesMax } =
    limits
  return new addon.Database({
    keyBytesMax,
    valueBytesMax,
    familyNameBytesMax,
    batchOperationsMax,
    blockOriginsMax,
    blockEntriesMax,
    // One family may fill half of it before it is written out.
    writeBufferBytes: Math.ceil(settings.writeBufferBytes / 2),
    writeBuffersBytes: settings.writeBufferBytes,
    cacheBytes: settings.cacheBytes,
    compression: settings.compression ?? '',
    bloomBitsPerKey: settings.bloomBitsPerKey,
    familyPrefix: bookkeeping.familyPrefix,
    idNextKey: bookkeeping.idNext,
  })
}

export function describeFiles(directory: string): Promise<DescribedFiles> {
  return useAddon().describeFiles(directory)
}

export function checksumFile(path: string): Promise<{ readonly bytes: number; readonly checksum: number }> {
  return useAddon().checksumFile(path)
}

/** True if the engine can be used here. */
export function hasRocksdb(): boolean {
  try {
    useAddon()
    return true
  } catch {
    return false
  }
}

function useAddon(): Addon {
  if (loaded !== undefined) return loaded
  const addon = loadAddon()
  // Whatever is open when the process ends by process.exit() or an exception is closed while everything still stands.
  // The stores of a worker thread end with its environment, and not those of the others.
  if (isMainThread) process.once('exit', () => addon.closeAll())
  loaded = addon
  return addon
}

/**
 * What was built here at installation; otherwise the prebuilt package of this platform, if it is installed. What is
 * there and cannot be loaded is an error: nothing else is tried instead.
 */
function loadAddon(): Addon {
  const from = named ?? (existsSync(built) ? built : prebuilt)
  try {
    if (from === prebuilt) checkPrebuilt()
    return require(from) as Addon
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    const why = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error)
    throw new UnderstudyError('CONFIG', `engine "rocksdb" is not built here: ${why}`, {
      cause: error,
      hint: `install RocksDB's headers with \`${headersCommand()}\`, then run \`npm rebuild understudy-db\`; or choose engine "level"`,
    })
  }
}

/** The calls between the two packages are nobody else's contract. */
function checkPrebuilt(): void {
  const versionOf = (path: string): string => (require(path) as { readonly version: string }).version
  const [found, expected] = [versionOf(`${prebuilt}/package.json`), versionOf('../../package.json')]
  if (found === expected) return
  throw new UnderstudyError('CONFIG', `engine "rocksdb": ${prebuilt} is of version ${found}, not ${expected}`, {
    hint: `run \`npm install ${prebuilt}@${expected}\``,
  })
}

function headersCommand(): string {
  return process.platform === 'darwin' ? 'brew install rocksdb' : 'apt-get install librocksdb-dev'
}
