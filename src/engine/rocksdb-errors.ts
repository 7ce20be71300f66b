import { InvariantViolation } from '../core/invariant.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { AddonFailure } from './rocksdb-addon.js'

/** What the addon reports, as coded errors; RocksDB's messages name the file that is at fault. */
export function rocksdbError(error: unknown, doing: string, directory: string): Error {
  if (error instanceof UnderstudyError || error instanceof InvariantViolation) return error
  const found = error as { readonly code?: AddonFailure; readonly message?: unknown } | undefined
  const text = typeof found?.message === 'string' ? found.message : String(error)
  const message = `${doing} in ${directory}: ${text}`
  switch (found?.code) {
    case 'CLOSED':
      return closedError(directory, error)
    case 'LOCKED':
      return new UnderstudyError('LOCKED', message, {
        cause: error,
        hint: 'another process, or another instance in this one, has the directory open',
      })
    case 'CORRUPTION':
      return new UnderstudyError('CORRUPTION', message, {
        cause: error,
        hint: 'bootstrap this node from another one; the damaged directory is best kept for inspection',
      })
    case 'DISK_FULL':
      return new UnderstudyError('DISK_FULL', message, { cause: error, hint: 'free space, then restart the node' })
    case 'PROTOCOL':
      return new UnderstudyError('PROTOCOL', message, { cause: error })
    case 'FAMILY':
      return new UnderstudyError('UNKNOWN_FAMILY', message, { cause: error })
    case 'INVARIANT':
      return new InvariantViolation(`invariant violated: ${text}`, { cause: error })
    case 'MEMORY':
      return new UnderstudyError('IO', message, { cause: error, hint: 'the machine has no memory left for the engine' })
    default:
      return toUnderstudyError(error, `${doing} in ${directory}`)
  }
}

export function closedError(directory: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError('CLOSED', `the engine in ${directory}, or what was read from, is closed`, {
    ...(cause === undefined ? {} : { cause }),
  })
}
