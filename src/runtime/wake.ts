import type { Clock } from '../ports/clock.js'

/** An event that wakes whoever waits for something to have changed; signals between two waits are not lost. */
export class Wake {
  private readonly clock: Clock
  private signalled = false
  private resolve: (() => void) | undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  signal(): void {
    this.signalled = true
    this.resolve?.()
  }

  /** Resolves at the next signal (at once if one came since the last wait) or after `timeoutMs`. One waiter. */
  async wait(timeoutMs: number): Promise<void> {
    if (!this.signalled) {
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(timeoutMs, resolve)
        this.resolve = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    this.resolve = undefined
    this.signalled = false
  }
}
