import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InvariantViolation } from '../core/invariant.js'
import { diskHint, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { AddonFailure } from './rocksdb-addon.js'

export const damageHint = 'bootstrap this node from another one; the damaged directory is best kept for inspection'

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
        hint: damageHint,
      })
    case 'BLOCK':
      return new UnderstudyError('CORRUPTION', message, { cause: error })
    case 'DISK_FULL':
      return new UnderstudyError('DISK_FULL', message, { cause: error, hint: 'free space, then restart the node' })
    case 'PROTOCOL':
      return new UnderstudyError('PROTOCOL', message, { cause: error })
    case 'FAMILY':
      return new UnderstudyError('UNKNOWN_FAMILY', message, { cause: error })
    case 'INVARIANT':
      return new InvariantViolation(`invariant violated: ${text}`, { cause: error })
    case 'CONFIG':
      return new UnderstudyError('CONFIG', message, { cause: error })
    case 'MEMORY':
      return new UnderstudyError('IO', message, { cause: error, hint: 'the machine has no memory left for the engine' })
    default:
      return toUnderstudyError(error, `${doing} in ${directory}`, { hint: diskHint })
  }
}

const damagedName = 'DAMAGED'

/** What the addon found in the store itself, not in what it was given. */
export function isDamage(error: unknown): boolean {
  const found = error as { readonly code?: AddonFailure } | undefined
  return found?.code === 'CORRUPTION' && !(error instanceof UnderstudyError)
}

/** Damage that was met while the store was in use: a store that opens all the same must not be used again. */
export function noteDamage(error: unknown, directory: string): void {
  const { message } = error as { readonly message?: unknown }
  try {
    writeFileSync(join(directory, damagedName), String(message), { flag: 'wx' })
  } catch {
    // It is there already, or the disk refuses everything: the next one who reads that block finds it again.
  }
}

export function refuseDamaged(directory: string): void {
  let message: string
  try {
    message = readFileSync(join(directory, damagedName), 'utf8')
  } catch {
    return
  }
  throw new UnderstudyError('CORRUPTION', `damage was found before: ${message}`, { hint: damageHint })
}

export function closedError(directory: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError('CLOSED', `the engine in ${directory}, or what was read from, is closed`, {
    ...(cause === undefined ? {} : { cause }),
  })
}
