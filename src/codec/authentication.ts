/**
 * What two transports say to each other before anything else. Both send a challenge at once; where a secret is in
 * use, the initiator proves first that it holds the secret, then the acceptor does.
 */
import { limits } from '../core/limits.js'
import { FieldReader, type FieldValue, FieldWriter, flag, hex, record } from './fields.js'
import { frameTypes } from './messages.js'

export const nonceBytes = 32
export const proofBytes = 32

/** Frame types of their own, far from those of the messages. Numbers are never reused. */
export const authenticationTypes = { challenge: 240, proof: 241 } as const

const definitions = {
  challenge: record({
    /** Whether this side has a secret: both must, or neither. */
    secret: flag,
    nonce: hex(nonceBytes),
  }),
  proof: record({ proof: hex(proofBytes) }),
}

type AuthenticationName = keyof typeof definitions
export type Challenge = FieldValue<(typeof definitions)['challenge']>
export type Proof = FieldValue<(typeof definitions)['proof']>

/** Before authentication nothing larger than a refusal may come. */
export function authenticationBytesMax(type: number): number | undefined {
  if (type === authenticationTypes.challenge || type === authenticationTypes.proof) return 64
  return type === frameTypes.failure ? limits.failureFrameBytesMax : undefined
}

export function encodeChallenge(challenge: Challenge): Uint8Array {
  return encode('challenge', challenge)
}

export function encodeProof(proof: Proof): Uint8Array {
  return encode('proof', proof)
}

/** Throws `PROTOCOL`. */
export function decodeChallenge(payload: Uint8Array): Challenge {
  return decode('challenge', payload)
}

/** Throws `PROTOCOL`. */
export function decodeProof(payload: Uint8Array): Proof {
  return decode('proof', payload)
}

function encode<N extends AuthenticationName>(name: N, message: FieldValue<(typeof definitions)[N]>): Uint8Array {
  const writer = new FieldWriter()
  definitions[name].write(writer, message as never)
  return writer.finish()
}

function decode<N extends AuthenticationName>(name: N, payload: Uint8Array): FieldValue<(typeof definitions)[N]> {
  const reader = new FieldReader(payload, name)
  const message = definitions[name].read(reader)
  if (reader.remaining > 0) reader.fail('the end')
  return message as FieldValue<(typeof definitions)[N]>
}
