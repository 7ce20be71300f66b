import type { Socket } from 'node:net'
import { authenticationBytesMax } from '../codec/authentication.js'
import { encodeFailure } from '../codec/failure.js'
import { encodeFrameHeader, FrameDecoder, frameHeaderBytes, writeFrameHeader } from '../codec/frame.js'
import { framePayloadBytesMax, frameTypes } from '../codec/messages.js'
import { invariant } from '../core/invariant.js'
import { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Connection, ConnectionHandlers, Frame } from '../ports/transport.js'
import { receivedFailure } from './received-failure.js'
import type { TransportLimits } from './transport-limits.js'

/** Payloads up to this size are copied behind their header: one write instead of two. */
const copiedPayloadBytesMax = 1024

export interface SocketConnectionOptions {
  readonly remote: string
  readonly clock: Clock
  readonly limits: TransportLimits
  /** The socket is gone, whoever ended it. */
  readonly onGone: () => void
}

/**
 * Frames over a stream socket that belongs to nobody else. Until it is told `authenticated`, only frames of the
 * authentication pass. Without handlers the socket is not read: what has arrived waits in it.
 */
export class SocketConnection implements Connection {
  readonly remote: string
  private readonly socket: Socket
  private readonly options: SocketConnectionOptions
  private readonly decoder = new FrameDecoder(authenticationBytesMax)
  private handlers: ConnectionHandlers | undefined
  /** Whole frames of one read that arrived behind the last frame that the previous handlers wanted. */
  private kept: Frame[] = []
  /** Nothing more is sent or delivered. */
  private ended = false
  private gone = false
  private told = false
  private corked = false
  private error: Error | undefined
  /** The last frame of each direction, if it was a failure: what the end of the connection means. */
  private failureSent = false
  private failureReceived: Uint8Array | undefined
  private closeTimer: Timer | undefined

  constructor(socket: Socket, options: SocketConnectionOptions) {
    this.socket = socket
    this.options = options
    this.remote = options.remote
    socket.setNoDelay(true)
    socket.setTimeout(0)
    socket.pause()
    socket.on('data', (bytes: Uint8Array) => this.receive(bytes))
    socket.on('end', () => this.receiveEnd())
    socket.on('error', (error) => this.lose(`connection to ${this.remote}: ${error.message}`, error))
    socket.on('close', () => this.vanish())
    if (socket.destroyed) process.nextTick(() => this.vanish())
  }

  get unsentBytes(): number {
    return this.gone ? 0 : this.socket.writableLength
  }

  start(handlers: ConnectionHandlers): void {
    invariant(this.handlers === undefined, 'a connection is started once')
    this.handlers = handlers
    process.nextTick(() => this.deliverKept())
  }

  /** Takes the handlers away: what arrives from here on, in the same read too, waits for the next `start`. */
  authenticated(): void {
    this.handlers = undefined
    this.decoder.bound = framePayloadBytesMax
    this.socket.pause()
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
    if (this.socket.writableLength > this.options.limits.unsentBytesMax) {
      const error = new UnderstudyError(
        'LIMIT_EXCEEDED',
        `${this.socket.writableLength} bytes wait for ${this.remote}, which does not take them`,
      )
      this.ended = true
      this.destroy(error)
      return
    }
    this.write(type, payload)
  }

  /** As `send`, for the frames of the authentication. */
  sendOpening(frame: Frame): void {
    if (!this.ended) this.write(frame.type, [frame.payload])
  }

  close(error?: Error): void {
    if (this.ended) return
    this.kept = []
    this.endWith(error)
  }

  /** Ends at once, without sending what waits. */
  destroy(error: Error | undefined): void {
    this.ended = true
    this.error ??= error
    this.socket.destroy()
  }

  private write(type: number, payload: readonly Uint8Array[]): void {
    if (!this.corked) {
      this.corked = true
      this.socket.cork()
      // All that is sent in this turn leaves in one system call.
      process.nextTick(() => {
        this.corked = false
        this.socket.uncork()
      })
    }
    this.failureSent = type === frameTypes.failure
    let payloadBytes = 0
    for (const part of payload) payloadBytes += part.length
    if (payloadBytes <= copiedPayloadBytesMax) {
      const frame = Buffer.allocUnsafe(frameHeaderBytes + payloadBytes)
      writeFrameHeader(frame, type, payloadBytes)
      let at = frameHeaderBytes
      for (const part of payload) {
        frame.set(part, at)
        at += part.length
      }
      this.socket.write(frame)
      return
    }
    this.socket.write(encodeFrameHeader(type, payloadBytes))
    for (const part of payload) if (part.length > 0) this.socket.write(part)
  }

  private endWith(error: Error | undefined): void {
    if (this.ended) return
    this.ended = true
    this.error = error
    if (error instanceof UnderstudyError && !this.failureSent) this.write(frameTypes.failure, [encodeFailure(error)])
    this.finishSending()
  }

  /** Half-closes, and reads on to the other side's end, so that it gets what was sent and no reset. */
  private finishSending(): void {
    this.socket.end()
    this.socket.resume()
    if (this.gone) return
    this.closeTimer ??= this.options.clock.setTimer(this.options.limits.closeTimeoutMs, () => this.socket.destroy())
  }

  private receive(bytes: Uint8Array): void {
    if (this.ended) return
    try {
      this.decoder.push(bytes, (type, payload, tail) => this.deliver({ type, payload, tail }))
    } catch (error) {
      if (error instanceof UnderstudyError) {
        this.endWith(error)
        return
      }
      this.destroy(error as Error)
      throw error
    }
  }

  private deliver(frame: Frame): void {
    if (this.ended) return
    this.failureReceived = frame.type === frameTypes.failure ? frame.payload : undefined
    if (this.handlers === undefined || this.kept.length > 0) this.kept.push(frame)
    else this.handlers.onFrame(frame)
  }

  private deliverKept(): void {
    try {
      for (let frame = this.kept.shift(); frame !== undefined; frame = this.kept.shift()) this.handlers?.onFrame(frame)
    } catch (error) {
      if (!(error instanceof UnderstudyError)) {
        this.destroy(error as Error)
        throw error
      }
      this.close(error)
    }
    if (this.gone) this.tellClosed()
    else this.socket.resume()
  }

  private receiveEnd(): void {
    if (!this.ended) {
      if (this.decoder.partial) {
        this.lose(`connection to ${this.remote} ended within a frame`)
        return
      }
      this.ended = true
      this.error = this.failureReceived === undefined ? undefined : receivedFailure(this.failureReceived, this.remote)
    }
    this.finishSending()
  }

  private lose(message: string, cause?: unknown): void {
    if (!this.ended) this.error = new UnderstudyError('UNAVAILABLE', message, { cause })
    this.ended = true
    this.socket.destroy()
  }

  private vanish(): void {
    if (this.gone) return
    // A stream that is destroyed without an error ends here alone.
    if (!this.ended) this.lose(`connection to ${this.remote} was lost`)
    this.gone = true
    this.closeTimer?.cancel()
    this.options.onGone()
    if (this.kept.length === 0) this.tellClosed()
  }

  private tellClosed(): void {
    if (this.told || this.handlers === undefined) return
    this.told = true
    this.handlers.onClose(this.error)
  }
}
