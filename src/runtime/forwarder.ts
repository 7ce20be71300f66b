import { encodeOperations } from '../codec/block.js'
import type { Message } from '../codec/messages.js'
import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { ClearRequest, WriteOptions } from './handle.js'

interface Forward {
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
  readonly link: Link
}

/** What every forwarded write says, whatever it does. */
type ForwardHead = Pick<Message<'forward'>, 'epoch' | 'boot' | 'request' | 'timeoutMs'>

/**
 * Sends a standby's writes on to the primary over the session in which it follows. A write whose session ends
 * unanswered has an unknown outcome and is not sent again: the new primary may have it or not (S9).
 */
export class Forwarder {
  private readonly clock: Clock
  private readonly boot: string
  private readonly nextRequest: () => number
  private readonly forwards = new Map<number, Forward>()
  private session: { readonly link: Link; readonly epoch: Epoch } | undefined

  constructor(parts: { readonly clock: Clock; readonly boot: string; readonly nextRequest: () => number }) {
    this.clock = parts.clock
    this.boot = parts.boot
    this.nextRequest = parts.nextRequest
  }

  attach(link: Link, epoch: Epoch): void {
    this.session = { link, epoch }
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

  /** True while there is a primary to which a write could be sent. */
  get isConnected(): boolean {
    return this.session !== undefined
  }

  write(operations: readonly Operation[], options: WriteOptions): Promise<Position> {
    const waitFor = options.waitFor ?? 'committed'
    return this.send(options, (link, head) => link.send('forward', { ...head, waitFor }, encodeOperations(operations)))
  }

  clear(request: ClearRequest, options: WriteOptions): Promise<Position> {
    return this.send(options, (link, head) =>
      link.send('forwardClear', {
        ...head,
        waitFor: options.waitFor ?? 'committed',
        family: request.family,
        start: request.start,
        startOpen: request.startOpen === true,
        end: request.end,
        endClosed: request.endClosed === true,
        reverse: request.reverse === true,
        limit: request.limit === undefined || request.limit < 0 ? undefined : request.limit,
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
    for (const request of [...this.forwards.keys()]) this.settle(request, error)
  }

  private send(options: WriteOptions, transmit: (link: Link, head: ForwardHead) => void): Promise<Position> {
    const { signal, timeoutMs = limits.writeTimeoutMs } = options
    if (this.session === undefined) return Promise.reject(notConnected())
    const { link, epoch } = this.session
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
      transmit(link, { epoch, boot: this.boot, request, timeoutMs })
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

function notConnected(): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', 'this node is not connected to a primary', {
    hint: 'see `understudy status`: there may be no primary now',
  })
}
