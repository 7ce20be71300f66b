import { encodeFailure } from '../codec/failure.js'
import { frameHeaderBytes } from '../codec/frame.js'
import { framePayloadBytesMax, frameTypes } from '../codec/messages.js'
import { invariant } from '../core/invariant.js'
import { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Connection, ConnectionHandlers, Frame } from '../ports/transport.js'
import { receivedFailure } from './received-failure.js'
import type { TransportLimits } from './transport-limits.js'

export type NetworkClock = Pick<Clock, 'nowMs' | 'setTimer' | 'defer'>

/** What is under way together. */
export interface Segment {
  readonly postedMs: number
  readonly landsMs: number
  readonly parcels: Parcel[]
  bytes: number
  /** It takes nothing in any more. */
  landing: boolean
  timer: Timer | undefined
}

/** What shares a lane arrives in order. */
export interface Lane {
  /** Under way now, oldest first. */
  readonly segments: Segment[]
}

/** Something on its way from one address to another. */
export interface Parcel {
  readonly lane: Lane
  readonly from: string
  readonly to: string
  readonly bytes: number
  ready(): boolean
  deliver(): void
}

export interface Carrier {
  readonly clock: NetworkClock
  post(parcel: Parcel): void
  /** Takes back everything of a lane that has not arrived. */
  discard(lane: Lane): void
  /** Something that was not ready may be now. */
  nudge(): void
}

/** What one end of a connection sends to the other: a frame, or, without one, the end. */
class FrameParcel implements Parcel {
  readonly lane: InMemoryConnection
  readonly bytes: number
  private readonly peer: InMemoryConnection
  private readonly frame: Frame | undefined

  constructor(lane: InMemoryConnection, peer: InMemoryConnection, bytes: number, frame: Frame | undefined) {
    this.lane = lane
    this.peer = peer
    this.bytes = bytes
    this.frame = frame
  }

  get from(): string {
    return this.lane.local
  }

  get to(): string {
    return this.lane.remote
  }

  ready(): boolean {
    return this.peer.takes
  }

  deliver(): void {
    if (this.frame === undefined) {
      this.peer.receiveEnd()
      return
    }
    this.lane.unsentBytes -= this.bytes
    this.peer.receive(this.frame)
  }
}

/** One end of a connection within this process. The other end is another object; they share nothing but parcels. */
export class InMemoryConnection implements Connection, Lane {
  readonly segments: Segment[] = []
  readonly local: string
  readonly remote: string
  unsentBytes = 0
  gone = false
  private readonly carrier: Carrier
  private readonly limits: TransportLimits
  private readonly onGone: (connection: InMemoryConnection) => void
  private peer: InMemoryConnection | undefined
  private handlers: ConnectionHandlers | undefined
  private ended = false
  private endSent = false
  private told = false
  private error: Error | undefined
  private failureSent = false
  private failureReceived: Uint8Array | undefined
  private closeTimer: Timer | undefined

  constructor(
    local: string,
    remote: string,
    carrier: Carrier,
    limits: TransportLimits,
    onGone: (connection: InMemoryConnection) => void,
  ) {
    this.local = local
    this.remote = remote
    this.carrier = carrier
    this.limits = limits
    this.onGone = onGone
  }

  join(peer: InMemoryConnection): void {
    this.peer = peer
  }

  start(handlers: ConnectionHandlers): void {
    invariant(this.handlers === undefined, 'a connection is started once')
    this.handlers = handlers
    this.carrier.clock.defer(() => {
      if (this.gone) this.tellClosed()
    })
    this.carrier.nudge()
  }

  send(type: number, ...payload: readonly Uint8Array[]): void {
    if (this.ended) return
    const bytesMax = framePayloadBytesMax(type)
    let payloadBytes = 0
    for (const part of payload) payloadBytes += part.length
    invariant(
      bytesMax !== undefined && payloadBytes <= bytesMax,
      'only frames of the protocol, within bounds, are sent',
    )
    if (this.unsentBytes > this.limits.unsentBytesMax) {
      this.reset(
        new UnderstudyError(
          'LIMIT_EXCEEDED',
          `${this.unsentBytes} bytes wait for ${this.remote}, which does not take them`,
        ),
      )
      return
    }
    this.failureSent = type === frameTypes.failure
    // The receiver owns its payload: it gets a copy, as it would from a socket.
    const frame: Frame = { type, payload: Buffer.concat(payload) }
    const frameBytes = frameHeaderBytes + payloadBytes
    this.unsentBytes += frameBytes
    this.post(frameBytes, frame)
  }

  close(error?: Error): void {
    if (this.ended) return
    if (error instanceof UnderstudyError && !this.failureSent) this.send(frameTypes.failure, encodeFailure(error))
    this.ended = true
    this.error = error
    this.sendEnd()
    this.closeTimer = this.carrier.clock.setTimer(this.limits.closeTimeoutMs, () => this.reset(undefined))
  }

  /** Ends at once; what is under way in either direction is lost, and the other side hears of it when it can. */
  reset(error: Error | undefined): void {
    if (this.gone) return
    if (!this.ended) this.error = error
    this.ended = true
    this.carrier.discard(this)
    this.unsentBytes = 0
    const peer = this.peer
    if (peer !== undefined) {
      this.carrier.post({
        lane: this,
        from: this.local,
        to: this.remote,
        bytes: 0,
        ready: () => true,
        deliver: () => peer.lose(),
      })
    }
    this.vanish()
  }

  /** The connection broke under both sides. */
  lose(): void {
    if (this.gone) return
    if (!this.ended) this.error = new UnderstudyError('UNAVAILABLE', `connection to ${this.remote} was lost`)
    this.ended = true
    this.carrier.discard(this)
    this.unsentBytes = 0
    this.vanish()
  }

  private post(bytes: number, frame: Frame | undefined): void {
    const peer = this.peer
    invariant(peer !== undefined, 'a connection has two ends')
    this.carrier.post(new FrameParcel(this, peer, bytes, frame))
  }

  /** For `FrameParcel`: what arrives here is taken. */
  get takes(): boolean {
    return this.handlers !== undefined || this.ended
  }

  /** For `FrameParcel`. */
  receive(frame: Frame): void {
    if (this.ended) return
    this.failureReceived = frame.type === frameTypes.failure ? frame.payload : undefined
    try {
      this.handlers?.onFrame(frame)
    } catch (error) {
      if (!(error instanceof UnderstudyError)) {
        this.reset(error as Error)
        throw error
      }
      this.close(error)
    }
  }

  private sendEnd(): void {
    if (this.endSent) return
    this.endSent = true
    this.post(0, undefined)
  }

  /** For `FrameParcel`. */
  receiveEnd(): void {
    if (!this.ended) {
      this.ended = true
      this.error = this.failureReceived === undefined ? undefined : receivedFailure(this.failureReceived, this.remote)
    }
    this.sendEnd()
    this.vanish()
  }

  private vanish(): void {
    if (this.gone) return
    this.gone = true
    this.closeTimer?.cancel()
    this.onGone(this)
    this.tellClosed()
  }

  private tellClosed(): void {
    if (this.told || this.handlers === undefined) return
    this.told = true
    this.handlers.onClose(this.error)
  }
}
