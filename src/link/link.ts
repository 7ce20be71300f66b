import {
  decodeMessage,
  encodeMessage,
  frameName,
  frameTypes,
  type Message,
  type MessageName,
} from '../codec/messages.js'
import type { Block } from '../core/entry.js'
import type { Failure } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { errorFromFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Connection, Frame } from '../ports/transport.js'

/** How a session knows that its peer lives. */
export interface LinkPace {
  readonly heartbeatMs: number
  readonly silenceMs: number
  /** Bytes that may wait to be sent before the journal is held back: heartbeats queue behind them. */
  readonly bufferBytesMax: number
}

export type FrameHandler = (name: MessageName | 'block', payload: Uint8Array, tail?: readonly Uint8Array[]) => void

/**
 * One connection as a session uses it: messages instead of frames, heartbeats when idle, an end when the peer is
 * silent. Frames are kept while no handler is set, so that a session may await the disk between two of them.
 */
export class Link {
  readonly remote: string
  /** What the handshake has agreed on. */
  protocol: number = limits.protocolVersionMin
  /** Resolves once, with the reason; undefined if a side closed on purpose. */
  readonly closed: Promise<UnderstudyError | undefined>
  private readonly connection: Connection
  private readonly clock: Clock
  private readonly inbox: Frame[] = []
  private handler: FrameHandler | undefined
  private waiter: ((frame: Frame | undefined) => void) | undefined
  private lastReceivedMs: number
  private lastSentMs: number
  private peerStamp = 0
  private pace: LinkPace | undefined
  /** Stamps of own heartbeats that the peer has not echoed, oldest first. */
  private unheard: number[] = []
  private heardAt: number | undefined
  private pulse: Timer | undefined
  private ended = false
  private endError: UnderstudyError | undefined
  private resolveClosed!: (error: UnderstudyError | undefined) => void
  /** Called with each heartbeat that goes out, to send along what keeps a peer informed. */
  onPulse: (() => void) | undefined
  /** Called with the stamp of each heartbeat that arrives. */
  onStamp: ((stamp: number) => void) | undefined

  constructor(connection: Connection, clock: Clock) {
    this.connection = connection
    this.clock = clock
    this.remote = connection.remote
    this.lastReceivedMs = clock.nowMs()
    this.lastSentMs = this.lastReceivedMs
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve
    })
    connection.start({
      onFrame: (frame) => this.receive(frame),
      onClose: (error) =>
        this.end(error === undefined ? undefined : toUnderstudyError(error, `connection to ${this.remote}`)),
    })
    this.schedulePulse()
  }

  get isClosed(): boolean {
    return this.ended
  }

  get unsentBytes(): number {
    return this.connection.unsentBytes
  }

  /**
   * For how long the peer has not shown that it lives. Where the pace is set it must have heard us: bytes that arrive
   * show nothing of the way there (L3). Only heartbeats that were sent are waited for: who stood still itself has
   * asked nothing meanwhile.
   */
  get silentForMs(): number {
    if (this.pace === undefined) return this.clock.nowMs() - this.lastReceivedMs
    const oldest = this.unheard[0]
    return oldest === undefined ? 0 : this.clock.nowMs() - oldest
  }

  /** Own clock: when we sent the newest of our heartbeats that the peer has echoed; undefined before the first. */
  get heardAtMs(): number | undefined {
    return this.heardAt
  }

  get bufferBytesMax(): number {
    return this.pace?.bufferBytesMax ?? limits.sendBufferBytesMax
  }

  /** Both sides of a session that failure detection rests on call this once the handshake is done. */
  setPace(pace: LinkPace): void {
    if (this.ended) return
    this.pace = pace
    this.pulse?.cancel()
    this.beat()
    this.schedulePulse()
  }

  send<N extends MessageName>(name: N, message: Message<N>, ...raw: readonly Uint8Array[]): void {
    if (this.ended) return
    this.lastSentMs = this.clock.nowMs()
    this.connection.send(frameTypes[name], encodeMessage(name, message), ...raw)
  }

  sendBlock(block: Block): void {
    if (this.ended) return
    this.lastSentMs = this.clock.nowMs()
    this.connection.send(frameTypes.block, block.bytes)
  }

  /** Tells the peer why, then closes. */
  fail(error: Failure | UnderstudyError): void {
    const failure: Failure =
      error instanceof UnderstudyError
        ? { code: error.failure, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
        : error
    if (!this.ended) {
      this.send('failure', {
        code: failure.code,
        message: failure.message.slice(0, 1000),
        hint: failure.hint?.slice(0, 1000),
      })
    }
    this.close(error instanceof UnderstudyError ? error : errorFromFailure(failure))
  }

  close(error?: UnderstudyError): void {
    if (this.ended) return
    this.connection.close()
    this.end(error)
  }

  /** From now on frames go to `handler`; those that waited go first. Undefined: keep them. */
  handle(handler: FrameHandler | undefined): void {
    this.handler = handler
    while (this.handler !== undefined && this.inbox.length > 0 && !this.ended) this.dispatch(this.inbox.shift()!)
  }

  /** The next frame, which must be this message; a failure frame is thrown as the error it carries. */
  async expect<N extends MessageName>(name: N, timeoutMs: number, signal?: AbortSignal): Promise<Message<N>> {
    const [found, payload] = await this.expectOneOf([name], timeoutMs, signal)
    return decodeMessage(found as N, payload)
  }

  async expectOneOf<N extends MessageName>(
    names: readonly N[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<[N, Uint8Array]> {
    for (;;) {
      const frame = this.inbox.shift() ?? (await this.nextFrame(names, timeoutMs, signal))
      const name = frameName(frame.type)
      if (name === 'heartbeat') continue
      if (name === 'failure') {
        const failure = decodeMessage('failure', frame.payload)
        const error = new UnderstudyError(
          failure.code,
          failure.message,
          failure.hint === undefined ? {} : { hint: failure.hint },
        )
        this.close(error)
        throw error
      }
      if (name !== undefined && (names as readonly string[]).includes(name)) return [name as N, frame.payload]
      const error = new UnderstudyError(
        'PROTOCOL',
        `${this.remote}: expected ${names.join(' or ')}, got ${name ?? frame.type}`,
      )
      this.fail(error)
      throw error
    }
  }

  private nextFrame(names: readonly MessageName[], timeoutMs: number, signal: AbortSignal | undefined): Promise<Frame> {
    const what = () => names.join(' or ')
    if (this.ended)
      return Promise.reject(this.endError ?? new UnderstudyError('UNAVAILABLE', `${this.remote} closed the connection`))
    if (signal?.aborted) return Promise.reject(new UnderstudyError('ABORTED', `waiting for ${what()} was aborted`))
    return new Promise((resolve, reject) => {
      const onAbort = () => settle(new UnderstudyError('ABORTED', `waiting for ${what()} was aborted`))
      const timer = this.clock.setTimer(timeoutMs, () =>
        settle(new UnderstudyError('TIMEOUT', `${this.remote} sent no ${what()} within ${timeoutMs} ms`)),
      )
      const settle = (outcome: Frame | Error) => {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        this.waiter = undefined
        if (outcome instanceof Error) reject(outcome)
        else resolve(outcome)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.waiter = (frame) =>
        settle(frame ?? this.endError ?? new UnderstudyError('UNAVAILABLE', `${this.remote} closed the connection`))
    })
  }

  private receive(frame: Frame): void {
    if (this.ended) return
    this.lastReceivedMs = this.clock.nowMs()
    if (frame.type === frameTypes.heartbeat) {
      try {
        const { stamp, echo } = decodeMessage('heartbeat', frame.payload)
        this.peerStamp = stamp
        this.noteEcho(echo)
        this.onStamp?.(stamp)
      } catch (error) {
        this.fail(toUnderstudyError(error, 'heartbeat'))
      }
      return
    }
    if (this.waiter !== undefined) this.waiter(frame)
    else if (this.handler !== undefined && this.inbox.length === 0) this.dispatch(frame)
    else if (this.inbox.length < limits.inboxFramesMax) this.inbox.push(frame)
    else this.fail({ code: 'LIMIT_EXCEEDED', message: `more than ${limits.inboxFramesMax} frames wait to be read` })
  }

  private dispatch(frame: Frame): void {
    const name = frameName(frame.type)
    if (name === undefined) {
      this.fail({ code: 'PROTOCOL', message: `unknown frame type ${frame.type}` })
      return
    }
    try {
      if (name === 'failure') {
        const failure = decodeMessage('failure', frame.payload)
        this.close(
          new UnderstudyError(failure.code, failure.message, failure.hint === undefined ? {} : { hint: failure.hint }),
        )
        return
      }
      this.handler?.(name, frame.payload, frame.tail)
    } catch (error) {
      if (!(error instanceof UnderstudyError)) throw error
      this.fail(error)
    }
  }

  private noteEcho(echo: number): void {
    if (echo === 0) return
    if (echo > this.clock.nowMs()) throw new UnderstudyError('PROTOCOL', `${this.remote} echoes what was never sent`)
    while (this.unheard[0] !== undefined && this.unheard[0] <= echo) this.unheard.shift()
    this.heardAt = Math.max(this.heardAt ?? 0, echo)
  }

  private schedulePulse(): void {
    const { heartbeatMs, silenceMs } = this.pace ?? { heartbeatMs: limits.heartbeatMs, silenceMs: limits.peerSilenceMs }
    this.pulse = this.clock.setTimer(heartbeatMs, () => {
      if (this.ended) return
      if (this.silentForMs > silenceMs) {
        // After a standstill of our own the answer may be here, unread: what is ready is taken in first.
        this.clock.defer(() => this.onSilence(silenceMs))
        return
      }
      // With a pace the echo must travel also while data flows one way.
      if (this.pace !== undefined || this.clock.nowMs() - this.lastSentMs >= heartbeatMs / 2) this.beat()
      this.schedulePulse()
    })
  }

  private onSilence(silenceMs: number): void {
    if (this.ended) return
    const silentForMs = Math.round(this.silentForMs)
    if (silentForMs > silenceMs) {
      this.close(new UnderstudyError('TIMEOUT', `${this.remote} was silent for ${silentForMs} ms`))
    } else this.schedulePulse()
  }

  private beat(): void {
    // A peer that takes nothing in gets no further heartbeats: they would only queue up.
    if (this.unsentBytes >= limits.sendBufferBytesMax) return
    const stamp = Math.floor(this.clock.nowMs())
    if (this.pace !== undefined && this.unheard.at(-1) !== stamp) this.unheard.push(stamp)
    this.send('heartbeat', { stamp, echo: this.peerStamp })
    this.onPulse?.()
  }

  private end(error: UnderstudyError | undefined): void {
    if (this.ended) return
    this.ended = true
    this.endError = error
    this.pulse?.cancel()
    this.waiter?.(undefined)
    this.resolveClosed(error)
  }
}
