import type { Failure, FailureCode, Outcome } from './core/failure.js'

export type ErrorCode = `UNDERSTUDY_${FailureCode}`

export interface ErrorOptions {
  readonly outcome?: Outcome
  readonly hint?: string
  readonly cause?: unknown
  /** Overrides the default of the code. */
  readonly retryable?: boolean
  /** Address of the primary, where it is known (`NOT_PRIMARY`). */
  readonly primary?: string
}

/** Codes of conditions that pass by themselves: the same call may succeed later. */
const retryableCodes: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'NOT_PRIMARY',
  'FENCED',
  'ACK_TIMEOUT',
  'BACKPRESSURE',
  'LAG_EXCEEDED',
  'TIMEOUT',
  'UNAVAILABLE',
  'NOT_READY',
  'LOCKED',
  'STALE_EPOCH',
  'ADDRESS_IN_USE',
  'SWITCHOVER_REFUSED',
  'VERIFY_REFUSED',
])

/**
 * Every error that the world can cause. `code` is stable; `outcome` says whether the write may have happened;
 * `hint` names the next step of whoever reads it.
 */
export class UnderstudyError extends Error {
  override readonly name = 'UnderstudyError'
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly outcome: Outcome
  readonly hint: string | undefined
  readonly primary: string | undefined

  constructor(code: FailureCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = `UNDERSTUDY_${code}`
    this.retryable = options.retryable ?? retryableCodes.has(code)
    this.outcome = options.outcome ?? 'none'
    this.hint = options.hint
    this.primary = options.primary
  }

  /** The same error, saying something else of the write. */
  withOutcome(outcome: Outcome): UnderstudyError {
    return new UnderstudyError(this.failure, this.message, {
      outcome,
      retryable: this.retryable,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.primary === undefined ? {} : { primary: this.primary }),
      cause: this,
    })
  }

  /** The code without its prefix, as it stands in `failureCodes`. */
  get failure(): FailureCode {
    return this.code.slice('UNDERSTUDY_'.length) as FailureCode
  }

  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      outcome: this.outcome,
      retryable: this.retryable,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.primary === undefined ? {} : { primary: this.primary }),
    }
  }
}

export function errorFromFailure(failure: Failure, options: ErrorOptions = {}): UnderstudyError {
  return new UnderstudyError(failure.code, failure.message, {
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    ...options,
  })
}

export function isFailure(error: unknown, ...codes: readonly FailureCode[]): error is UnderstudyError {
  return error instanceof UnderstudyError && (codes.length === 0 || codes.includes(error.failure))
}

const fullHint = 'free space on the file system, then restart the node'
export const diskHint = 'look at the disk and the kernel log, then restart the node'

/** Any thrown thing as a coded error; operating-system errors are recognised by their errno. */
export function toUnderstudyError(error: unknown, doing: string, options: ErrorOptions = {}): UnderstudyError {
  if (error instanceof UnderstudyError) return error
  const errno = (error as NodeJS.ErrnoException | undefined)?.code
  const text = error instanceof Error ? error.message : String(error)
  const code: FailureCode =
    errno === 'ENOSPC' || errno === 'EDQUOT'
      ? 'DISK_FULL'
      : errno === 'EADDRINUSE'
        ? 'ADDRESS_IN_USE'
        : errno === 'ABORT_ERR'
          ? 'ABORTED'
          : errno === 'ECONNREFUSED' || errno === 'ECONNRESET' || errno === 'EPIPE'
            ? 'UNAVAILABLE'
            : 'IO'
  const hint = code === 'DISK_FULL' ? fullHint : errno === 'EIO' || errno === 'EROFS' ? diskHint : undefined
  return new UnderstudyError(code, `${doing}: ${text}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
    ...options,
  })
}
