import { type FileHandle, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { DirectoryLock, File, FileStat, FileSystem } from '../ports/file-system.js'
import { writeAll } from './write-all.js'

const flags = { read: 'r', write: 'r+', create: 'wx+' } as const

function errno(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}

/** Errors of an open file do not say which one it is; those of calls with a path do. */
async function naming<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof Error && !('path' in error)) {
      error.message += ` '${path}'`
      Object.assign(error, { path })
    }
    throw error
  }
}

class NodeFile implements File {
  private readonly handle: FileHandle
  private readonly path: string
  private closing: Promise<void> | undefined

  constructor(handle: FileHandle, path: string) {
    this.handle = handle
    this.path = path
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    let done = 0
    while (done < into.length) {
      const reading = this.handle.read(into, done, into.length - done, offset + done)
      const { bytesRead } = await naming(this.path, reading)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
  }

  async write(parts: readonly Uint8Array[], offset: number): Promise<void> {
    await naming(this.path, writeAll(this.handle, parts, offset))
  }

  async datasync(): Promise<void> {
    await naming(this.path, this.handle.datasync())
  }

  async sync(): Promise<void> {
    await naming(this.path, this.handle.sync())
  }

  async truncate(bytes: number): Promise<void> {
    await naming(this.path, this.handle.truncate(bytes))
  }

  async size(): Promise<number> {
    return (await naming(this.path, this.handle.stat())).size
  }

  async close(): Promise<void> {
    this.closing ??= this.handle.close()
    await this.closing
  }
}

export const nodeFileSystem: FileSystem = Object.freeze({
  join,

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    return new NodeFile(await open(path, flags[mode], 0o640), path)
  },

  async readFile(path: string, bytesMax: number): Promise<Uint8Array> {
    const handle = await open(path, 'r')
    const file = new NodeFile(handle, path)
    try {
      const bytes = await file.size()
      if (bytes > bytesMax) {
        throw Object.assign(new Error(`EFBIG: ${path} has ${bytes} bytes, at most ${bytesMax} are read`), {
          code: 'EFBIG',
        })
      }
      const content = new Uint8Array(bytes)
      return content.subarray(0, await file.read(content, 0))
    } finally {
      await file.close()
    }
  },

  async list(path: string): Promise<string[]> {
    return (await readdir(path)).sort()
  },

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      const found = await stat(path)
      return { kind: found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other', bytes: found.size }
    } catch (error) {
      if (errno(error) === 'ENOENT') return undefined
      throw error
    }
  },

  async makeDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o750 })
  },

  rename,

  async remove(path: string): Promise<void> {
    await unlink(path)
  },

  async removeTree(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true })
  },

  async syncDirectory(path: string): Promise<void> {
    // Windows cannot open a directory for syncing; there the file system orders its own names.
    if (process.platform === 'win32') return
    const handle = await open(path, 'r')
    try {
      await naming(path, handle.sync())
    } finally {
      await handle.close()
    }
  },

  /**
   * An empty LevelDB next to the data, held only for its LOCK: the kernel frees it when the process dies, however it
   * dies, and LevelDB itself refuses a second open in the same process.
   */
  async lock(path: string): Promise<DirectoryLock | undefined> {
    const level = new ClassicLevel(join(path, 'lock'))
    try {
      await level.open()
    } catch (error) {
      if (errno((error as Error).cause) === 'LEVEL_LOCKED') return undefined
      throw error
    }
    return { release: () => level.close() }
  },
})
