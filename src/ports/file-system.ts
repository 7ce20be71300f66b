/**
 * Files as the journal and the runtime see them. Adapters throw operating-system errors as they are (with their
 * errno in `code`); whoever calls decides what they mean. Nothing is durable before `datasync`, `sync` or, for
 * names, `syncDirectory` has returned. An adapter never retries.
 */
export interface FileSystem {
  /** `read`: must exist. `write`: must exist, read and write. `create`: must not exist, read and write. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>
  /** Whole file, refused with EFBIG over `bytesMax`. */
  readFile(path: string, bytesMax: number): Promise<Uint8Array>
  /** Names in a directory, sorted; ENOENT if it is missing. */
  list(path: string): Promise<string[]>
  /** `undefined` if there is nothing. */
  stat(path: string): Promise<FileStat | undefined>
  makeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Removes a file; ENOENT if it is missing. */
  remove(path: string): Promise<void>
  /** Removes a directory with all that is in it; nothing if it is missing. */
  removeTree(path: string): Promise<void>
  /** Makes creations, renames and removals in a directory durable. */
  syncDirectory(path: string): Promise<void>
  /** Takes the directory for this process alone until released or the process ends; undefined if it is taken. */
  lock(path: string): Promise<DirectoryLock | undefined>
  /** Joins path segments with the separator of the platform. */
  join(...parts: string[]): string
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'other'
  readonly bytes: number
}

export interface DirectoryLock {
  release(): Promise<void>
}

export interface File {
  /** Reads up to `into.length` bytes at `offset`; fewer only at the end of the file. */
  read(into: Uint8Array, offset: number): Promise<number>
  /** Writes all parts one after another at `offset`; a short write is continued or thrown, never dropped. */
  write(parts: readonly Uint8Array[], offset: number): Promise<void>
  datasync(): Promise<void>
  sync(): Promise<void>
  truncate(bytes: number): Promise<void>
  size(): Promise<number>
  /** Idempotent. */
  close(): Promise<void>
}
