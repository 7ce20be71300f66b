/** Failures on the wire: bounded on the way out, whatever the text of an error was. */
import type { Failure } from '../core/failure.js'
import type { UnderstudyError } from '../errors.js'
import { decodeMessage, encodeMessage, failureTextBytesMax } from './messages.js'

export function encodeFailure(error: UnderstudyError): Uint8Array {
  return encodeMessage('failure', {
    code: error.failure,
    message: bounded(error.message),
    hint: error.hint === undefined ? undefined : bounded(error.hint),
  })
}

/** Throws `PROTOCOL`. */
export function decodeFailure(payload: Uint8Array): Failure {
  const { code, message, hint } = decodeMessage('failure', payload)
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}

function bounded(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= failureTextBytesMax) return text
  // A character cut in two becomes U+FFFD, three bytes long: room is left for it.
  return bytes.toString('utf8', 0, failureTextBytesMax - 3)
}
