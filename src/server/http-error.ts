import type { FailureCode } from '../core/failure.js'
import { InvariantViolation } from '../core/invariant.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'

/** Total on purpose: a new code does not compile before its status was thought about. */
const statusByCode: Readonly<Record<FailureCode, number>> = {
  NOT_PRIMARY: 421,
  FENCED: 503,
  ACK_TIMEOUT: 504,
  BACKPRESSURE: 503,
  LAG_EXCEEDED: 503,
  DIVERGED: 409,
  TOO_OLD: 410,
  CORRUPTION: 500,
  DISK_FULL: 507,
  IO: 500,
  CONFIG: 500,
  CLOSED: 503,
  ABORTED: 503,
  TIMEOUT: 504,
  UNAVAILABLE: 503,
  NOT_READY: 503,
  LIMIT_EXCEEDED: 413,
  LOCKED: 409,
  FOREIGN_DIRECTORY: 409,
  ENGINE_MISMATCH: 409,
  FORMAT_VERSION: 500,
  PROTOCOL: 502,
  PROTOCOL_VERSION: 502,
  CLUSTER_MISMATCH: 409,
  HISTORY_MISMATCH: 409,
  SETTINGS_MISMATCH: 409,
  COORDINATOR_MISMATCH: 409,
  UNKNOWN_SHARD: 404,
  UNKNOWN_NODE: 404,
  UNKNOWN_FAMILY: 404,
  STALE_EPOCH: 409,
  STALE_INCARNATION: 409,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  ADDRESS_IN_USE: 500,
  PROMOTION_REFUSED: 409,
  SWITCHOVER_REFUSED: 409,
  BAD_REQUEST: 400,
  NOT_FOUND: 404,
  INTERNAL: 500,
  VERIFY_REFUSED: 409,
}

export interface HttpError {
  readonly status: number
  readonly error: UnderstudyError
}

/** A refusal whose status says more than its code does. */
export class HttpRefusal extends UnderstudyError {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: FailureCode,
    message: string,
    options: { readonly hint?: string; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(code, message, options.hint === undefined ? {} : { hint: options.hint })
    this.status = status
    this.headers = options.headers ?? {}
  }
}

/** Anything thrown while a request was answered, as its status and coded error. */
export function toHttpError(thrown: unknown): HttpError {
  const error = coded(thrown)
  return { status: error instanceof HttpRefusal ? error.status : statusByCode[error.failure], error }
}

function coded(thrown: unknown): UnderstudyError {
  if (thrown instanceof UnderstudyError) return thrown
  const { code, statusCode, message } = thrown as { code?: string; statusCode?: number; message?: string }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new UnderstudyError('LIMIT_EXCEEDED', 'the body is larger than this request may be', {
      hint: 'a value may have 16 MiB, a batch 96 MiB as JSON',
    })
  }
  if (code === 'FST_ERR_BAD_URL') return badRequest(`the path is not percent-encoded UTF-8`)
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return badRequest(message ?? 'the request cannot be read')
  }
  const isOurBug = thrown instanceof InvariantViolation || thrown instanceof TypeError || thrown instanceof RangeError
  if (!isOurBug && typeof code === 'string') return toUnderstudyError(thrown, 'answering the request')
  return new UnderstudyError('INTERNAL', 'the request failed by a bug of this program; its log has the details', {
    outcome: 'unknown',
    cause: thrown,
  })
}

export function badRequest(message: string, hint?: string): UnderstudyError {
  return new UnderstudyError('BAD_REQUEST', message, hint === undefined ? {} : { hint })
}
