import { decodeFailure } from '../codec/failure.js'
import { errorFromFailure } from '../errors.js'

/** The error that a failure frame, the last before the end of a connection, stands for. */
export function receivedFailure(payload: Uint8Array, remote: string): Error {
  try {
    const failure = decodeFailure(payload)
    return errorFromFailure({ ...failure, message: `${remote}: ${failure.message}` })
  } catch (error) {
    return error as Error
  }
}
