import { UnderstudyError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type { CoordinatorCall } from '../../ports/coordinator.js'

/** What ends a call early: its time-out, its caller's signal, or the close of the whole. */
export class CallScope {
  /** Aborted with the coded error that the call ends with. */
  readonly signal: AbortSignal
  private readonly clock: Clock
  private readonly endMs: number
  private readonly cleanups: Array<() => void> = []

  constructor(clock: Clock, call: CoordinatorCall, closing: AbortSignal) {
    const aborter = new AbortController()
    this.clock = clock
    this.endMs = clock.nowMs() + call.timeoutMs
    this.signal = aborter.signal
    const watch = (signal: AbortSignal, error: () => UnderstudyError) => {
      const end = () => aborter.abort(error())
      if (signal.aborted) return end()
      signal.addEventListener('abort', end, { once: true })
      this.cleanups.push(() => signal.removeEventListener('abort', end))
    }
    watch(closing, () => new UnderstudyError('CLOSED', 'the coordinator was closed'))
    if (call.signal !== undefined) watch(call.signal, () => new UnderstudyError('ABORTED', 'the call was aborted'))
    const late = () => aborter.abort(new UnderstudyError('TIMEOUT', 'etcd did not answer in time'))
    const timer = clock.setTimer(call.timeoutMs, late, { keepsAlive: true })
    this.cleanups.push(() => timer.cancel())
  }

  get remainingMs(): number {
    return Math.max(0, this.endMs - this.clock.nowMs())
  }

  get error(): UnderstudyError {
    return this.signal.reason as UnderstudyError
  }

  /** Resolves after `delayMs`, or when the scope ends. */
  async pause(delayMs: number): Promise<void> {
    if (this.signal.aborted) return
    await new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel()
        this.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.clock.setTimer(delayMs, done)
      this.signal.addEventListener('abort', done, { once: true })
    })
  }

  end(): void {
    for (const cleanup of this.cleanups.splice(0)) cleanup()
  }
}
