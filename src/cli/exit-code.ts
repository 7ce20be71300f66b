import { CommanderError } from 'commander'
import type { FailureCode } from '../core/failure.js'
import { UnderstudyError } from '../errors.js'

/** What a script may rely on. */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** The command line or the configuration is wrong: the same call never succeeds. */
  misuse: 2,
  notPrimary: 3,
  /** Nothing is wrong with the request: the node or the disk cannot be had now. */
  unavailable: 4,
  corruption: 5,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

const { failed, misuse, notPrimary, unavailable, corruption } = exitCodes

/** Total on purpose: a new code does not compile before it was thought about what a script does with it. */
const exitCodeByFailure: Readonly<Record<FailureCode, ExitCode>> = {
  NOT_PRIMARY: notPrimary,
  FENCED: notPrimary,
  ACK_TIMEOUT: unavailable,
  BACKPRESSURE: unavailable,
  LAG_EXCEEDED: unavailable,
  DIVERGED: failed,
  TOO_OLD: failed,
  CORRUPTION: corruption,
  DISK_FULL: failed,
  IO: failed,
  CONFIG: misuse,
  CLOSED: unavailable,
  ABORTED: failed,
  TIMEOUT: unavailable,
  UNAVAILABLE: unavailable,
  NOT_READY: unavailable,
  LIMIT_EXCEEDED: failed,
  LOCKED: unavailable,
  FOREIGN_DIRECTORY: misuse,
  ENGINE_MISMATCH: misuse,
  FORMAT_VERSION: failed,
  PROTOCOL: failed,
  PROTOCOL_VERSION: failed,
  CLUSTER_MISMATCH: misuse,
  HISTORY_MISMATCH: failed,
  SETTINGS_MISMATCH: misuse,
  COORDINATOR_MISMATCH: misuse,
  UNKNOWN_SHARD: misuse,
  UNKNOWN_NODE: misuse,
  UNKNOWN_FAMILY: misuse,
  STALE_EPOCH: notPrimary,
  STALE_INCARNATION: failed,
  UNAUTHORIZED: failed,
  FORBIDDEN: failed,
  ADDRESS_IN_USE: unavailable,
  PROMOTION_REFUSED: failed,
  SWITCHOVER_REFUSED: failed,
  BAD_REQUEST: misuse,
  NOT_FOUND: failed,
  INTERNAL: failed,
  VERIFY_REFUSED: unavailable,
}

export function exitCodeOf(error: UnderstudyError): ExitCode {
  return exitCodeByFailure[error.failure]
}

/** Whatever a command threw, as a coded error; what is not coded is a bug of ours. */
export function toCommandError(thrown: unknown): UnderstudyError {
  if (thrown instanceof UnderstudyError) return thrown
  if (thrown instanceof CommanderError) {
    const [first = '', suggestion] = thrown.message.replace(/^error: /, '').split('\n')
    // "option '--url <URL>' argument 'x' is invalid. is no URL" as one sentence.
    const message = first.replace(/ argument '(.*)' is invalid\. /, ": '$1' ")
    return new UnderstudyError('BAD_REQUEST', message, {
      hint: suggestion === undefined ? '--help lists what there is' : suggestion.replace(/^\((.*)\)$/, '$1'),
    })
  }
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  return new UnderstudyError('INTERNAL', `a bug of this program: ${text}`, { cause: thrown })
}
