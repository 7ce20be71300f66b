import { limits } from '../../core/limits.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../../errors.js'
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
            (error) => {
              // The channel knows what it has sent: its word on the outcome stands.
              if (!isLost(error) || error.outcome !== 'none') {
                settle(() => reject(toUnderstudyError(error, 'asking the coordinator', { outcome: outcomeSent })))
                return
              }
              // Nothing of it took effect, so it may be asked again.
              sent = false
              if (this.pending.has(one)) this.sendOrWait(one, channel)
            },
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
      this.sendOrWait(one)
    })
  }

  private sendOrWait(one: Pending, lost?: VoterChannel): void {
    if (this.channel === undefined || this.channel === lost) this.waiting.add(one)
    else one.send(this.channel)
  }

  private unreachable(timeoutMs: number): UnderstudyError {
    const cause = this.reason()
    const why = cause === undefined ? '' : `: ${cause.message}`
    return new UnderstudyError('UNAVAILABLE', `the coordinator was not reached within ${timeoutMs} ms${why}`, { cause })
  }
}

/** The channel ended under the call: never what the voter itself says. */
function isLost(error: unknown): error is UnderstudyError {
  return isFailure(error, 'UNAVAILABLE')
}

function late(timeoutMs: number): UnderstudyError {
  return new UnderstudyError('TIMEOUT', `the coordinator did not answer within ${timeoutMs} ms`)
}

function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'the coordinator was closed')
}
