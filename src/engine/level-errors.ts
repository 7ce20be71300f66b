import { InvariantViolation } from '../core/invariant.js'
import { diskHint, toUnderstudyError, UnderstudyError } from '../errors.js'

interface LevelError {
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
}

/**
 * What LevelDB and its binding report, as coded errors. LevelDB tells a full disk only in words: the operating
 * system's text for ENOSPC and EDQUOT.
 */
export function levelError(error: unknown, doing: string, directory: string): Error {
  if (error instanceof UnderstudyError || error instanceof InvariantViolation) return error
  const found = error as LevelError | undefined
  // A failed open() wraps what LevelDB said.
  if (found?.code === 'LEVEL_DATABASE_NOT_OPEN' && found.cause !== undefined) {
    return levelError(found.cause, doing, directory)
  }
  const text = typeof found?.message === 'string' ? found.message : String(error)
  const message = `${doing} in ${directory}: ${text}`
  switch (found?.code) {
    case 'LEVEL_DATABASE_NOT_OPEN':
    case 'LEVEL_ITERATOR_NOT_OPEN':
    case 'LEVEL_SNAPSHOT_NOT_OPEN':
      return closedError(directory, error)
    case 'LEVEL_LOCKED':
      return new UnderstudyError('LOCKED', message, {
        cause: error,
        hint: 'another process, or another instance in this one, has the directory open',
      })
    case 'LEVEL_CORRUPTION':
      return new UnderstudyError('CORRUPTION', message, {
        cause: error,
        hint: 'bootstrap this node from another one; the damaged directory is best kept for inspection',
      })
  }
  if (/No space left on device|Disk quota exceeded|not enough space/i.test(text)) {
    return new UnderstudyError('DISK_FULL', message, { cause: error, hint: 'free space, then restart the node' })
  }
  return toUnderstudyError(error, `${doing} in ${directory}`, { hint: diskHint })
}

export function closedError(directory: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError('CLOSED', `the engine in ${directory}, or what was read from, is closed`, {
    ...(cause === undefined ? {} : { cause }),
  })
}
