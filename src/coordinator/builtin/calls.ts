import { limits } from '../../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type { CoordinatorCall } from '../../ports/coordinator.js'
import type { VoterChannel } from './channel.js'

interface Pending {
  fail(error: UnderstudyError): void
  send(channel: VoterChannel): void
}

/**
 * Calls under way. Those that find no channel wait for one; whatever happens, each ends within its time-out, and says
 * `none` only if nothing of it has left.
 */
export class CallTable {
  private readonly clock: Clock
  private readonly reason: () => Error | undefined
  private readonly pending = new Set<Pending>()
  private readonly waiting = new Set<Pending>()
  private channel: VoterChannel | undefined
  private closed = false

  /** `reason`: why there is no channel, for the message of a call that found none in time. */
  constructor(clock: Clock, reason: () => Error | undefined) {
    this.clock = clock
    this.reason = reason
  }

  connected(channel: VoterChannel): void {
    this.channel = channel
    const waiting = [...this.waiting]
    this.waiting.clear()
    for (const one of waiting) one.send(channel)
  }

  /** What was sent is answered by its channel; later calls wait. */
  disconnected(): void {
    this.channel = undefined
  }

  close(): void {
    this.closed = true
    for (const one of [...this.pending]) one.fail(closedError())
  }

  /** `outcomeSent`: what is to be said of a call that was sent and not answered. */
  call<T>(
    options: CoordinatorCall,
    outcomeSent: 'none' | 'unknown',
    work: (channel: VoterChannel) => Promise<T>,
  ): Promise<T> {
    const { signal, timeoutMs } = options
    if (this.closed) return Promise.reject(closedError())
    if (signal?.aborted) return Promise.reject(new UnderstudyError('ABORTED', 'the call was aborted'))
    if (this.pending.size >= limits.coordinatorCallsMax) {
      const message = `${this.pending.size} calls wait for the coordinator; that is the limit`
      return Promise.reject(new UnderstudyError('BACKPRESSURE', message))
    }
    return new Promise((resolve, reject) => {
      let sent = false
      const settle = (end: () => void) => {
        if (!this.pending.delete(one)) return
        this.waiting.delete(one)
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        end()
      }
      const one: Pending = {
        fail: (error) => settle(() => reject(sent ? error.withOutcome(outcomeSent) : error)),
        send: (channel) => {
          sent = true
          work(channel).then(
            (value) => settle(() => resolve(value)),
            // The channel knows what it has sent: its word on the outcome stands.
            (error) =>
              settle(() => reject(toUnderstudyError(error, 'asking the coordinator', { outcome: outcomeSent }))),
          )
        },
      }
      const onAbort = () => one.fail(new UnderstudyError('ABORTED', 'the call was aborted'))
      const timer = this.clock.setTimer(
        timeoutMs,
        () => one.fail(sent ? late(timeoutMs) : this.unreachable(timeoutMs)),
        {
          keepsAlive: true,
        },
      )
      this.pending.add(one)
      signal?.addEventListener('abort', onAbort, { once: true })
      if (this.channel === undefined) this.waiting.add(one)
      else one.send(this.channel)
    })
  }

  private unreachable(timeoutMs: number): UnderstudyError {
    const cause = this.reason()
    const why = cause === undefined ? '' : `: ${cause.message}`
    return new UnderstudyError('UNAVAILABLE', `the coordinator was not reached within ${timeoutMs} ms${why}`, { cause })
  }
}

function late(timeoutMs: number): UnderstudyError {
  return new UnderstudyError('TIMEOUT', `the coordinator did not answer within ${timeoutMs} ms`)
}

function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'the coordinator was closed')
}
