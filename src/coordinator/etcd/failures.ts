import { type ServiceError, status } from '@grpc/grpc-js'
import { UnderstudyError } from '../../errors.js'

/** How a call to one member of etcd ended, if not with an answer. */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure'
  readonly status: number
  readonly details: string
  readonly endpoint: string

  constructor(endpoint: string, error: Pick<ServiceError, 'code' | 'details'>) {
    super(`etcd at ${endpoint}: ${error.details || (status[error.code] ?? `status ${error.code}`)}`)
    this.status = error.code
    this.details = error.details
    this.endpoint = endpoint
  }
}

/**
 * `elsewhere`: another member, or the same one later, may answer. `token`: log in again. `refused`: etcd understood the
 * request and will not do it; it has not been applied.
 */
export type Verdict = 'elsewhere' | 'token' | 'refused'

export function judge(failure: RpcFailure): Verdict {
  const { details } = failure
  switch (failure.status) {
    case status.UNAUTHENTICATED:
      return 'token'
    case status.INVALID_ARGUMENT:
      // Users or roles were changed after the token was given; or there is no token and one is needed.
      return /revision of auth store is old|user name is empty/.test(details) ? 'token' : 'refused'
    case status.PERMISSION_DENIED:
    case status.FAILED_PRECONDITION:
    case status.NOT_FOUND:
    case status.ALREADY_EXISTS:
    case status.OUT_OF_RANGE:
    case status.UNIMPLEMENTED:
      return 'refused'
    case status.RESOURCE_EXHAUSTED:
      // Only if etcd itself says so: the library uses the same status for an answer that is too large.
      return details.startsWith('etcdserver:') ? 'refused' : 'elsewhere'
    default:
      return 'elsewhere'
  }
}

/** A failure that is final for its call, as a coded error. Nothing was applied. */
export function refusal(failure: RpcFailure): UnderstudyError {
  const { details, message } = failure
  const options = { cause: failure, outcome: 'none' } as const
  switch (failure.status) {
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new UnderstudyError('UNAUTHORIZED', message, {
        ...options,
        hint: 'the user of the coordinator URL needs a role that may read and write /understudy/ in etcd',
      })
    case status.INVALID_ARGUMENT:
      if (/authentication failed|user name is empty/.test(details)) {
        return new UnderstudyError('UNAUTHORIZED', message, {
          ...options,
          hint: 'check user and password of the coordinator',
        })
      }
      return new UnderstudyError('BAD_REQUEST', message, options)
    case status.RESOURCE_EXHAUSTED:
      return new UnderstudyError('UNAVAILABLE', message, {
        ...options,
        hint: /space/.test(details) ? 'compact and defragment etcd, then disarm its alarm' : 'etcd is overloaded',
      })
    case status.UNIMPLEMENTED:
      return new UnderstudyError('PROTOCOL', message, { ...options, hint: 'etcd 3.4 or later is needed' })
    default:
      return new UnderstudyError('UNAVAILABLE', message, options)
  }
}

/** A call's time is over while members did not answer, or could not be reached: the last of their failures. */
export function unavailable(failure: RpcFailure): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', failure.message, {
    cause: failure,
    hint: 'no member of etcd could be reached in time',
  })
}
