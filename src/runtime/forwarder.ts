import { encodeOperations } from '../codec/block.js'
import type { Message } from '../codec/messages.js'
import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { ClearRequest, WriteOptions } from './handle.js'
import type { Link } from './link.js'
import { Waiters } from './waiters.js'

interface Forward {
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
  readonly link: Link
}

/**
 * Sends a standby's writes on to the primary over the session in which it follows. A write whose session ends
 * unanswered has an unknown outcome and is not sent again: the new primary may have it or not (S9).
 */
export class Forwarder {
  private readonly clock: Clock
  private readonly boot: string
  private readonly nextRequest: () => number
  private readonly waiters: Waiters
  private readonly forwards = new Map<number, Forward>()
  private session: { readonly link: Link; readonly epoch: Epoch } | undefined

  constructor(parts: { readonly clock: Clock; readonly boot: string; readonly nextRequest: () => number }) {
    this.clock = parts.clock
    this.boot = parts.boot
    this.nextRequest = parts.nextRequest
    this.waiters = new Waiters(parts.clock)
  }

  attach(link: Link, epoch: Epoch): void {
    this.session = { link, epoch }
    this.waiters.check()
  }

  detach(link: Link): void {
    if (this.session?.link === link) this.session = undefined
    for (const [request, forward] of this.forwards) {
      if (forward.link !== link) continue
      this.settle(
        request,
        new UnderstudyError('UNAVAILABLE', 'the connection to the primary ended before it answered', {
          outcome: 'unknown',
          hint: 'read the key back before you repeat the write',
        }),
      )
    }
  }

  async write(operations: readonly Operation[], options: WriteOptions): Promise<Position> {
    const timeoutMs = options.timeoutMs ?? limits.writeTimeoutMs
    const { link, epoch } = await this.connected(timeoutMs, options.signal)
    return this.send(link, timeoutMs, options.signal, (request) => {
      const message = { epoch, boot: this.boot, request, waitApplied: options.waitFor === 'applied', timeoutMs }
      link.send('forward', message, encodeOperations(operations))
    })
  }

  async clear(request: ClearRequest, options: WriteOptions): Promise<Position> {
    // On the wire 0 means no limit; what deletes nothing only waits for what came before it.
    if (request.limit === 0) return this.write([], options)
    const timeoutMs = options.timeoutMs ?? limits.writeTimeoutMs
    const { link, epoch } = await this.connected(timeoutMs, options.signal)
    return this.send(link, timeoutMs, options.signal, (number) =>
      link.send('forwardClear', {
        epoch,
        boot: this.boot,
        request: number,
        timeoutMs,
        family: request.family,
        start: request.start,
        startOpen: request.startOpen === true,
        end: request.end,
        endClosed: request.endClosed === true,
        reverse: request.reverse === true,
        limit: request.limit === undefined || request.limit < 0 ? 0 : request.limit,
      }),
    )
  }

  answered(message: Message<'forwarded'>): void {
    if (message.failure !== undefined) {
      const { code, message: text, hint, outcome } = message.failure
      this.settle(
        message.request,
        new UnderstudyError(code, text, { outcome, ...(hint === undefined ? {} : { hint }) }),
      )
    } else if (message.position !== undefined) this.settle(message.request, message.position)
  }

  close(error: Error): void {
    this.waiters.close(error)
    for (const request of [...this.forwards.keys()]) this.settle(request, error)
  }

  private async connected(timeoutMs: number, signal: AbortSignal | undefined) {
    const untilMs = this.clock.nowMs() + timeoutMs
    for (;;) {
      await this.waiters.until(() => this.session !== undefined, {
        timeoutMs: Math.max(0, untilMs - this.clock.nowMs()),
        signal,
        what: 'a connection to the primary',
        code: 'UNAVAILABLE',
        error: { outcome: 'none', hint: 'see `understudy status`: there may be no primary now' },
      })
      // It may have ended between the moment in which it stood and this one.
      if (this.session !== undefined) return this.session
    }
  }

  private send(
    link: Link,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    transmit: (request: number) => void,
  ): Promise<Position> {
    if (this.forwards.size >= limits.forwardsInFlightMax || link.unsentBytes > limits.sendBufferBytesMax) {
      return Promise.reject(
        new UnderstudyError('BACKPRESSURE', `${this.forwards.size} writes wait for the primary already`),
      )
    }
    return new Promise((resolve, reject) => {
      const request = this.nextRequest()
      const onTimeout = () =>
        this.settle(
          request,
          new UnderstudyError('ACK_TIMEOUT', `the primary did not answer within ${timeoutMs} ms`, {
            outcome: 'unknown',
          }),
        )
      const timer = this.clock.setTimer(timeoutMs + limits.sweepMs, onTimeout, { keepsAlive: true })
      const onAbort = () =>
        this.settle(request, new UnderstudyError('ABORTED', 'the write was aborted', { outcome: 'unknown' }))
      signal?.addEventListener('abort', onAbort, { once: true })
      const unwatch = () => signal?.removeEventListener('abort', onAbort)
      this.forwards.set(request, {
        resolve: (position) => {
          unwatch()
          resolve(position)
        },
        reject: (error) => {
          unwatch()
          reject(error)
        },
        timer,
        link,
      })
      transmit(request)
    })
  }

  private settle(request: number, outcome: Position | Error): void {
    const forward = this.forwards.get(request)
    if (forward === undefined) return
    this.forwards.delete(request)
    forward.timer.cancel()
    if (outcome instanceof Error) forward.reject(outcome)
    else forward.resolve(outcome)
  }
}
