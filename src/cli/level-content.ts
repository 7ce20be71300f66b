import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { ContentEntry, ContentWriter } from './content.js'

const stepEntries = 1000

/** A directory of classic-level (LevelDB), opened for this process alone. Keys and values are bytes. */
export class LevelContent implements ContentWriter {
  private readonly level: ClassicLevel<Uint8Array, Uint8Array>

  private constructor(level: ClassicLevel<Uint8Array, Uint8Array>) {
    this.level = level
  }

  /** One that exists. LevelDB has no mode that only reads: at open it may write out its own log, which changes no entry. */
  static async open(directory: string): Promise<LevelContent> {
    const names = await namesIn(directory)
    if (names.includes('shards')) {
      throw new UnderstudyError('CONFIG', `${directory} is a data directory of understudy, not of classic-level`, {
        hint: 'to copy a node: understudy bootstrap; to get its content out: understudy export',
      })
    }
    if (!names.includes('CURRENT')) {
      throw new UnderstudyError('CONFIG', `${directory} is no LevelDB directory: the file CURRENT is missing`, {
        hint: 'give the directory that is passed to new Level(…)',
      })
    }
    return LevelContent.start(directory, { createIfMissing: false })
  }

  static create(directory: string): Promise<LevelContent> {
    return LevelContent.start(directory, { createIfMissing: true, errorIfExists: true })
  }

  private static async start(
    directory: string,
    options: { readonly createIfMissing: boolean; readonly errorIfExists?: boolean },
  ): Promise<LevelContent> {
    const level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      ...options,
    })
    try {
      await level.open()
    } catch (error) {
      throw levelFailure(error, directory)
    }
    return new LevelContent(level)
  }

  async *read(signal: AbortSignal): AsyncGenerator<readonly ContentEntry[]> {
    const iterator = this.level.iterator()
    try {
      for (;;) {
        signal.throwIfAborted()
        const entries = await iterator.nextv(stepEntries)
        if (entries.length === 0) return
        yield entries
      }
    } catch (error) {
      throw signal.aborted ? error : levelFailure(error, this.level.location)
    } finally {
      await iterator.close()
    }
  }

  async isEmpty(): Promise<boolean> {
    const iterator = this.level.keys({ limit: 1 })
    try {
      return (await iterator.next()) === undefined
    } finally {
      await iterator.close()
    }
  }

  async write(entries: readonly ContentEntry[]): Promise<void> {
    try {
      await this.level.batch(
        entries.map(([key, value]) => ({ type: 'put', key, value })),
        { sync: true },
      )
    } catch (error) {
      throw levelFailure(error, this.level.location)
    }
  }

  close(): Promise<void> {
    return this.level.close()
  }
}

/** Bytes of all files below a directory: a rough size of what is in it. */
export async function sizeOf(directory: string): Promise<number> {
  let bytes = 0
  for (const name of await namesIn(directory)) {
    const found = await stat(join(directory, name)).catch(() => undefined)
    if (found?.isFile() === true) bytes += found.size
  }
  return bytes
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new UnderstudyError('CONFIG', `${directory}: there is no such directory`)
    }
    throw toUnderstudyError(error, `reading ${directory}`)
  }
}

function levelFailure(error: unknown, directory: string): UnderstudyError {
  if (error instanceof UnderstudyError) return error
  const { code, message, cause } = error as {
    code?: string
    message?: string
    cause?: { code?: string; message?: string }
  }
  const inner = cause?.code ?? code
  const text = `${directory}: ${cause?.message ?? message}`
  if (inner === 'LEVEL_LOCKED') {
    return new UnderstudyError('LOCKED', `${directory} is open in another process`, {
      hint: 'end the program that uses it: a store that is written to meanwhile cannot be moved',
      cause: error,
    })
  }
  if (inner === 'LEVEL_CORRUPTION') return new UnderstudyError('CORRUPTION', text, { cause: error })
  if (inner === 'LEVEL_IO_ERROR') return new UnderstudyError('IO', text, { cause: error })
  return toUnderstudyError(error, directory)
}
