import type { FailureCode, Outcome } from '../core/failure.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { WriteOptions } from './handle.js'

/** A write of this node that waits for its outcome, wherever it is. */
export interface PendingWrite {
  request: number
  /** Encoded operations: what the caller does with its buffers meanwhile is of no consequence. */
  bytes: Uint8Array
  readonly waitFor: NonNullable<WriteOptions['waitFor']>
  readonly timeoutMs: number
  readonly deadlineMs: number
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
  /** Stops listening to the caller's signal. */
  unwatch: () => void
  /** Where the write is, once it is known. */
  position: Position | undefined
  /** The primary that it was last sent to says that all is done. */
  answered: boolean
  /** The write itself is committed and applied here; what is sent under this number only waits for what was asked beyond. */
  confirms: boolean
}

export type NewWrite = Pick<
  PendingWrite,
  'request' | 'bytes' | 'timeoutMs' | 'deadlineMs' | 'resolve' | 'reject' | 'position'
>

export interface Wishes {
  readonly waitFor?: WriteOptions['waitFor'] | undefined
  readonly signal?: AbortSignal | undefined
}

/** Why nothing can be written now. */
export interface Obstacle {
  readonly code: FailureCode
  readonly message: string
}

/** What a primary answers that cannot take a write here and now, although another one, or the same a little later, can. */
const passingCodes: ReadonlySet<FailureCode> = new Set([
  'STALE_EPOCH',
  'NOT_READY',
  'NOT_PRIMARY',
  'FENCED',
  'CLOSED',
] satisfies FailureCode[])

/** False: the answer is meant for the caller. */
export function isPassing(error: UnderstudyError): boolean {
  return passingCodes.has(error.failure)
}

/** Of a write whose time is up. */
export function lateError(timeoutMs: number, outcome: Outcome, obstacle: () => Obstacle): UnderstudyError {
  const within = `within ${Math.round(timeoutMs)} ms`
  switch (outcome) {
    case 'none': {
      const { code, message } = obstacle()
      return new UnderstudyError(code, `the write waits: ${message}: not ${within}`, {
        hint: 'see `understudy status`: there may be no primary now',
      })
    }
    case 'unknown':
      return new UnderstudyError('ACK_TIMEOUT', `not acknowledged ${within}`, {
        outcome,
        hint: 'the write may still be committed: read the key back before you repeat it',
      })
    case 'done':
      return new UnderstudyError('ACK_TIMEOUT', `committed, but not all that was asked for ${within}`, {
        outcome,
        hint: 'the write is committed; what it waited for beyond that, or this node, is late',
      })
  }
}
