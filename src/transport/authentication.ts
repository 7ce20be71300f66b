import { createHmac, timingSafeEqual } from 'node:crypto'
import {
  authenticationTypes,
  decodeChallenge,
  decodeProof,
  encodeChallenge,
  encodeProof,
  nonceBytes,
} from '../codec/authentication.js'
import { decodeFailure } from '../codec/failure.js'
import { frameTypes } from '../codec/messages.js'
import { invariant } from '../core/invariant.js'
import { errorFromFailure, UnderstudyError } from '../errors.js'
import type { Frame } from '../ports/transport.js'

export type Side = 'initiator' | 'acceptor'

export interface AuthenticationStep {
  readonly reply: Frame | undefined
  /** True when the other side is known to share the secret, or when both have none. */
  readonly done: boolean
}

/** Bytes of a configured secret; `CONFIG` for an empty one, which would look like a check and be none (F33). */
export function secretBytes(secret: string | Uint8Array | undefined): Uint8Array | undefined {
  if (secret === undefined) return undefined
  const bytes = typeof secret === 'string' ? Buffer.from(secret) : Uint8Array.from(secret)
  if (bytes.length === 0) {
    throw new UnderstudyError('CONFIG', 'the replication secret is empty', {
      hint: 'set a secret of 16 bytes or more on all nodes, or leave the setting out on all of them',
    })
  }
  return bytes
}

export function oneSidedSecret(without: 'this node' | 'the other side', remote: string): UnderstudyError {
  return new UnderstudyError(
    'UNAUTHORIZED',
    without === 'this node'
      ? `${remote} asks for a replication secret; this node has none`
      : `this node asks for a replication secret; ${remote} has none`,
    { hint: 'configure the same replication secret on both nodes, or on neither' },
  )
}

export function differentSecrets(remote: string): UnderstudyError {
  return new UnderstudyError('UNAUTHORIZED', `the replication secret of ${remote} is not the one of this node`, {
    hint: 'configure the same replication secret on all nodes',
  })
}

/**
 * One side of the mutual challenge and response. Each proof covers both nonces and the role of the one who proves:
 * neither a recorded proof nor the other side's own can be sent back. Any frame that does not fit ends it.
 */
export class Authentication {
  private readonly side: Side
  private readonly secret: Uint8Array | undefined
  private readonly nonce: string
  private readonly remote: string
  private remoteNonce: string | undefined
  private done = false

  constructor(side: Side, secret: Uint8Array | undefined, nonce: Uint8Array, remote: string) {
    invariant(nonce.length === nonceBytes, 'a nonce has its full length')
    this.side = side
    this.secret = secret
    this.nonce = Buffer.from(nonce).toString('hex')
    this.remote = remote
  }

  /** What this side says first, without waiting for the other. */
  opening(): Frame {
    const payload = encodeChallenge({ secret: this.secret !== undefined, nonce: this.nonce })
    return { type: authenticationTypes.challenge, payload }
  }

  /** Throws `UNAUTHORIZED`, `PROTOCOL`, or what the other side refused with. */
  receive(frame: Frame): AuthenticationStep {
    invariant(!this.done, 'authentication takes no frame after its end')
    if (frame.type === frameTypes.failure) {
      const failure = decodeFailure(frame.payload)
      throw errorFromFailure({ ...failure, message: `${this.remote} refused: ${failure.message}` })
    }
    const step = this.remoteNonce === undefined ? this.takeChallenge(frame) : this.takeProof(frame, this.remoteNonce)
    this.done = step.done
    return step
  }

  private takeChallenge(frame: Frame): AuthenticationStep {
    if (frame.type !== authenticationTypes.challenge) throw this.outOfTurn('challenge')
    const challenge = decodeChallenge(frame.payload)
    if (challenge.secret && this.secret === undefined) throw oneSidedSecret('this node', this.remote)
    if (!challenge.secret && this.secret !== undefined) throw oneSidedSecret('the other side', this.remote)
    this.remoteNonce = challenge.nonce
    if (this.secret === undefined) return { reply: undefined, done: true }
    const reply = this.side === 'initiator' ? this.proofFrame(this.secret, challenge.nonce) : undefined
    return { reply, done: false }
  }

  private takeProof(frame: Frame, remoteNonce: string): AuthenticationStep {
    if (frame.type !== authenticationTypes.proof) throw this.outOfTurn('proof')
    const secret = this.secret
    invariant(secret !== undefined, 'proofs are exchanged only where there is a secret')
    const expected = this.proofOf(this.side === 'initiator' ? 'acceptor' : 'initiator', secret, remoteNonce)
    const found = Buffer.from(decodeProof(frame.payload).proof, 'hex')
    if (!timingSafeEqual(expected, found)) throw differentSecrets(this.remote)
    return { reply: this.side === 'acceptor' ? this.proofFrame(secret, remoteNonce) : undefined, done: true }
  }

  private proofFrame(secret: Uint8Array, remoteNonce: string): Frame {
    const proof = this.proofOf(this.side, secret, remoteNonce).toString('hex')
    return { type: authenticationTypes.proof, payload: encodeProof({ proof }) }
  }

  private proofOf(side: Side, secret: Uint8Array, remoteNonce: string): Buffer {
    const [initiator, acceptor] = this.side === 'initiator' ? [this.nonce, remoteNonce] : [remoteNonce, this.nonce]
    return createHmac('sha256', secret)
      .update(`understudy/1 authentication ${side}\0`)
      .update(initiator, 'hex')
      .update(acceptor, 'hex')
      .digest()
  }

  private outOfTurn(expected: string): UnderstudyError {
    return new UnderstudyError('PROTOCOL', `${this.remote}: expected a ${expected} before anything else`)
  }
}
