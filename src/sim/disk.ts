/**
 * A disk in memory that loses power as real ones do. Content and names each have a cached and a stored version;
 * `fsync` of a file stores its content, of a directory its names. A power loss keeps any choice of what was not
 * synced. Everything is deterministic: operations take effect when they are called (after `latency`, if given).
 */
import { posix } from 'node:path'
import { invariant } from '../core/invariant.js'
import type { DirectoryLock, File, FileStat, FileSystem } from '../ports/file-system.js'
import { type ContentChange, type DiskContent, diskError } from './disk-content.js'
import { type DirectoryChange, DiskNames } from './disk-names.js'

export { diskError }

export type DiskOperation =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'datasync'
  | 'sync'
  | 'truncate'
  | 'list'
  | 'stat'
  | 'makeDirectory'
  | 'rename'
  | 'remove'
  | 'syncDirectory'
  | 'lock'

/**
 * Asked before every operation. An error is thrown as it is; an error of `datasync` or `sync` leaves the pages
 * clean and their fate open, and ENOSPC of a write comes after half of its bytes. `short`, for writes only: half of the bytes reach the page cache, then EIO. `misdirected`,
 * for reads only: the bytes come from another place of the file.
 */
export type DiskFault = (operation: DiskOperation, path: string) => Error | 'short' | 'misdirected' | undefined

/** One unsynced change that a power loss keeps or loses. */
export interface UnsyncedChange {
  /** Order of the change over the whole disk; parts of one write share it. */
  readonly index: number
  readonly kind: 'write' | 'truncate' | 'create' | 'rename' | 'remove'
  readonly path: string
  readonly offset: number
  readonly bytes: number
}

export interface PowerLoss {
  readonly keep: 'all' | 'none' | ((change: UnsyncedChange) => boolean)
  /** Ask for each 512-byte sector of a write instead of for the write as a whole. */
  readonly sectors?: boolean
}

export interface SimulatedDiskOptions {
  readonly fault?: DiskFault
  /** Awaited before each operation takes effect: the simulator's clock decides how long that is. */
  readonly latency?: (operation: DiskOperation, path: string, bytes: number) => Promise<void> | undefined
}

export class SimulatedDisk {
  fault: DiskFault | undefined
  latency: SimulatedDiskOptions['latency']
  private names = new DiskNames()
  private readonly locks = new Map<string, DiskProcess>()
  private processes = new Set<DiskProcess>()
  private changeCount = 0

  constructor(options: SimulatedDiskOptions = {}) {
    this.fault = options.fault
    this.latency = options.latency
  }

  /**
   * The file system as one process sees it. When the process is killed or the power is lost, nothing that it still
   * does has an effect, and what it waits for never comes: it is not there any more.
   */
  process(): FileSystem & { kill(): void } {
    const process = new DiskProcess(this)
    this.processes.add(process)
    return process
  }

  /** Power loss: ends all processes; of what was not synced, only what is kept is there afterwards. */
  crash(loss: PowerLoss): void {
    for (const process of [...this.processes]) this.end(process)
    const { keep } = loss
    const kept = (path: string, change: ContentChange | DirectoryChange): boolean => {
      if (keep === 'all' || keep === 'none') return keep === 'all'
      const content = 'bytes' in change
      return keep({
        index: change.index,
        kind: change.kind,
        path,
        offset: content ? change.offset : 0,
        bytes: content ? change.bytes.length : 0,
      })
    }
    for (const [path, content] of this.names.contents()) {
      content.loseCache(content.unsynced(loss.sectors ?? false).filter((change) => kept(path, change)))
    }
    this.names.loseCache((change) => kept(change.path, change))
  }

  /** A new disk in the place of this one; ends all processes. */
  wipe(): void {
    for (const process of [...this.processes]) this.end(process)
    this.names = new DiskNames()
  }

  /** What a power loss now could keep or lose. */
  unsynced(sectors = false): UnsyncedChange[] {
    const changes: UnsyncedChange[] = []
    for (const [path, content] of this.names.contents()) {
      for (const change of content.unsynced(sectors)) {
        changes.push({
          index: change.index,
          kind: change.kind,
          path,
          offset: change.offset,
          bytes: change.bytes.length,
        })
      }
    }
    for (const { index, kind, path } of this.names.unsynced()) {
      changes.push({ index, kind, path, offset: 0, bytes: 0 })
    }
    return changes.sort((a, b) => a.index - b.index)
  }

  /** A second disk with the same content, cached and stored, and no processes. */
  clone(): SimulatedDisk {
    const copy = new SimulatedDisk()
    copy.names = this.names.clone()
    copy.changeCount = this.changeCount
    return copy
  }

  /** What a power loss now would certainly leave of some files of a directory; undefined if not even that. */
  remnant(path: string, wanted: (names: readonly string[]) => readonly string[]): SimulatedDisk | undefined {
    const names = this.names.remnant(path, wanted)
    if (names === undefined) return undefined
    const copy = new SimulatedDisk()
    copy.names = names
    return copy
  }

  /** As `remnant`, to look at: the names that are left of a directory, and the files among them. */
  certain(path: string): ReadonlyMap<string, DiskContent | undefined> | undefined {
    return this.names.certainEntries(path)
  }

  /** Damage at rest: what is read from now on, and what is on the disk. */
  corrupt(path: string, change: (content: Uint8Array) => Uint8Array): void {
    this.names.file(path).corrupt(change)
  }

  exists(path: string): boolean {
    return this.tree.stat(path) !== undefined
  }

  list(path: string): string[] {
    return this.tree.list(path)
  }

  /** Content as a process would read it. */
  content(path: string): Uint8Array {
    return this.names.file(path).bytes()
  }

  /** For `DiskProcess`. */
  get tree(): DiskNames {
    return this.names
  }

  /** For `DiskProcess`. */
  nextIndex(): number {
    return this.changeCount++
  }

  /** For `DiskProcess`: false if another process has the directory. */
  take(path: string, process: DiskProcess): boolean {
    if (this.locks.has(path)) return false
    this.locks.set(path, process)
    return true
  }

  release(path: string): void {
    this.locks.delete(path)
  }

  /** Process crash: its locks are free, its handles dead, the page cache stays. */
  end(process: DiskProcess): void {
    process.dead = true
    this.processes.delete(process)
    for (const [path, owner] of this.locks) if (owner === process) this.locks.delete(path)
  }
}

/** Not a multiple of any block's size. */
const misdirectedBy = 512

/** What a process waits for that is not there any more: a promise of its own, which goes with it. */
function never(): Promise<never> {
  return new Promise(() => {})
}

const normalPath = /^(\/[^/.][^/]*)+$/

function normal(path: string): string {
  return normalPath.test(path) ? path : posix.resolve('/', path)
}

class DiskProcess implements FileSystem {
  dead = false
  private readonly disk: SimulatedDisk

  constructor(disk: SimulatedDisk) {
    this.disk = disk
  }

  kill(): void {
    this.disk.end(this)
  }

  join(...parts: string[]): string {
    return posix.join(...parts)
  }

  /** Runs `effect` unless a fault or the end of the process comes first. */
  async run<T>(
    operation: DiskOperation,
    path: string,
    bytes: number,
    effect: (fault: Error | 'short' | 'misdirected' | undefined) => T,
  ): Promise<T> {
    if (this.dead) await never()
    const latency = this.disk.latency?.(operation, path, bytes)
    if (latency !== undefined) await latency
    if (this.dead) await never()
    const fault = this.disk.fault?.(operation, path)
    // The question may have been the moment to pull the plug.
    if (this.dead) await never()
    const result = effect(fault)
    invariant(fault !== 'short' || operation === 'write', 'only writes are short')
    invariant(fault !== 'misdirected' || operation === 'read', 'only reads are misdirected')
    if (fault instanceof Error) throw fault
    // The answer of an operation that took effect may still be lost with the process.
    await undefined
    if (this.dead) await never()
    return result
  }

  private change(operation: DiskOperation, path: string, effect: () => void): Promise<void> {
    return this.run(operation, path, 0, (fault) => {
      if (fault === undefined) effect()
    })
  }

  async open(given: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const path = normal(given)
    const { tree } = this.disk
    const content = await this.run(mode === 'create' ? 'create' : 'open', path, 0, (fault) => {
      if (fault !== undefined) return undefined
      return mode === 'create' ? tree.create(path, this.disk.nextIndex()) : tree.file(path)
    })
    invariant(content !== undefined, 'a file without a fault is there')
    return new DiskFile(this.disk, this, content, mode !== 'read')
  }

  async readFile(path: string, bytesMax: number): Promise<Uint8Array> {
    const file = await this.open(path, 'read')
    const bytes = await file.size()
    if (bytes > bytesMax) throw diskError('EFBIG', `read ${path} of ${bytes} bytes`)
    const content = new Uint8Array(bytes)
    await file.read(content, 0)
    await file.close()
    return content
  }

  list(path: string): Promise<string[]> {
    return this.run('list', normal(path), 0, (fault) => (fault ? [] : this.disk.tree.list(normal(path))))
  }

  stat(path: string): Promise<FileStat | undefined> {
    return this.run('stat', normal(path), 0, () => this.disk.tree.stat(normal(path)))
  }

  makeDirectory(path: string): Promise<void> {
    return this.change('makeDirectory', normal(path), () => {
      this.disk.tree.makeDirectory(normal(path), () => this.disk.nextIndex())
    })
  }

  rename(from: string, to: string): Promise<void> {
    return this.change('rename', normal(from), () => {
      this.disk.tree.rename(normal(from), normal(to), this.disk.nextIndex())
    })
  }

  remove(path: string): Promise<void> {
    return this.change('remove', normal(path), () => this.disk.tree.remove(normal(path), this.disk.nextIndex()))
  }

  removeTree(path: string): Promise<void> {
    return this.change('remove', normal(path), () =>
      this.disk.tree.removeTree(normal(path), () => this.disk.nextIndex()),
    )
  }

  syncDirectory(path: string): Promise<void> {
    return this.change('syncDirectory', normal(path), () => this.disk.tree.sync(normal(path)))
  }

  async lock(given: string): Promise<DirectoryLock | undefined> {
    const path = normal(given)
    const taken = await this.run('lock', path, 0, (fault) => fault === undefined && this.disk.take(path, this))
    if (!taken) return undefined
    return { release: () => this.run('lock', path, 0, () => this.disk.release(path)) }
  }
}

function isFull(fault: Error | 'short' | 'misdirected' | undefined): boolean {
  return fault instanceof Error && (fault as NodeJS.ErrnoException).code === 'ENOSPC'
}

class DiskFile implements File {
  private readonly disk: SimulatedDisk
  private readonly process: DiskProcess
  private readonly content: DiskContent
  private readonly writable: boolean
  private closed = false

  constructor(disk: SimulatedDisk, process: DiskProcess, content: DiskContent, writable: boolean) {
    this.disk = disk
    this.process = process
    this.content = content
    this.writable = writable
  }

  private check(operation: DiskOperation): void {
    const writes = operation === 'write' || operation === 'truncate'
    if (this.closed || (writes && !this.writable)) throw diskError('EBADF', `${operation} ${this.content.path}`)
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    this.check('read')
    return this.process.run('read', this.content.path, into.length, (fault) =>
      fault instanceof Error ? 0 : this.content.read(into, fault === undefined ? offset : offset + misdirectedBy),
    )
  }

  async write(parts: readonly Uint8Array[], offset: number): Promise<void> {
    this.check('write')
    const whole = Buffer.concat(parts)
    return this.process.run('write', this.content.path, whole.length, (fault) => {
      // A disk that is full has taken what still fitted.
      const isPart = fault === 'short' || isFull(fault)
      if (fault instanceof Error && !isPart) return
      const bytes = isPart ? whole.subarray(0, Math.floor(whole.length / 2)) : whole
      this.content.write(bytes, offset, this.disk.nextIndex())
      if (fault === 'short')
        throw diskError('EIO', `write ${this.content.path}: ${bytes.length} of ${whole.length} bytes`)
    })
  }

  async datasync(): Promise<void> {
    return this.flush('datasync')
  }

  async sync(): Promise<void> {
    return this.flush('sync')
  }

  private async flush(operation: 'datasync' | 'sync'): Promise<void> {
    this.check(operation)
    return this.process.run(operation, this.content.path, 0, (fault) => {
      if (fault === undefined) this.content.sync()
      else this.content.failSync()
    })
  }

  async truncate(bytes: number): Promise<void> {
    this.check('truncate')
    return this.process.run('truncate', this.content.path, 0, (fault) => {
      if (fault === undefined) this.content.truncate(bytes, this.disk.nextIndex())
    })
  }

  async size(): Promise<number> {
    this.check('stat')
    return this.process.run('stat', this.content.path, 0, () => this.content.size)
  }

  async close(): Promise<void> {
    this.closed = true
  }
}
