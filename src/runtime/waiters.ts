import type { FailureCode } from '../core/failure.js'
import { type ErrorOptions, UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'

interface Waiter {
  readonly holds: () => boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
  readonly signal: AbortSignal | undefined
  readonly onAbort: () => void
}

/** Waits for conditions over changing state. Every one ends: the condition, a time-out, an abort or `close`. */
export class Waiters {
  private readonly clock: Clock
  private readonly waiters = new Set<Waiter>()
  private closed: Error | undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  until(
    holds: () => boolean,
    options: {
      readonly timeoutMs: number
      readonly signal?: AbortSignal | undefined
      readonly what: string
      readonly code?: FailureCode
      readonly error?: ErrorOptions
    },
  ): Promise<void> {
    if (this.closed !== undefined) return Promise.reject(this.closed)
    if (holds()) return Promise.resolve()
    const { signal } = options
    if (signal?.aborted)
      return Promise.reject(new UnderstudyError('ABORTED', `${options.what}: aborted`, options.error))
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.drop(waiter)
        reject(new UnderstudyError('ABORTED', `${options.what}: aborted`, options.error))
      }
      const onTimeout = () => {
        this.drop(waiter)
        const message = `${options.what}: not within ${options.timeoutMs} ms`
        reject(new UnderstudyError(options.code ?? 'TIMEOUT', message, options.error))
      }
      const timer = this.clock.setTimer(options.timeoutMs, onTimeout, { keepsAlive: true })
      const waiter: Waiter = { holds, resolve, reject, timer, signal, onAbort }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.waiters.add(waiter)
    })
  }

  /** State has changed: those whose condition holds now go on. A condition that throws ends its wait with that. */
  check(): void {
    for (const waiter of this.waiters) {
      try {
        if (!waiter.holds()) continue
        this.drop(waiter)
        waiter.resolve()
      } catch (error) {
        this.drop(waiter)
        waiter.reject(error as Error)
      }
    }
  }

  /** Ends all waits, and those that come later at once (I8). */
  close(error: Error): void {
    this.closed ??= error
    for (const waiter of this.waiters) {
      this.drop(waiter)
      waiter.reject(error)
    }
  }

  private drop(waiter: Waiter): void {
    this.waiters.delete(waiter)
    waiter.timer.cancel()
    waiter.signal?.removeEventListener('abort', waiter.onAbort)
  }
}
