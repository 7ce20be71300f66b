import { UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { PromoteOptions, PromoteResult } from './handle.js'

/** A promotion by hand until it is answered. Time-out and abort end the wait, not what the loop may be doing already. */
export class PromotionRequest {
  readonly force: boolean
  readonly answer: Promise<PromoteResult>
  private readonly onGivenUp: () => void
  private settle!: {
    readonly resolve: (result: PromoteResult) => void
    readonly reject: (error: Error) => void
  }
  private readonly unwatch: () => void
  private begun = false

  constructor(parts: {
    readonly options: PromoteOptions
    readonly timeoutMs: number
    readonly clock: Clock
    /** Where the shard stands, for the message of a time-out. */
    readonly describe: () => string
    /** Nobody waits any more for what was not begun. */
    readonly onGivenUp: () => void
  }) {
    const { options, timeoutMs, clock } = parts
    this.force = options.force === true
    this.onGivenUp = parts.onGivenUp
    this.answer = new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
    })
    const onTimeout = () =>
      this.giveUp('TIMEOUT', `the promotion was not done within ${timeoutMs} ms (${parts.describe()})`)
    const timer = clock.setTimer(timeoutMs, onTimeout, { keepsAlive: true })
    const onAbort = () => this.giveUp('ABORTED', 'the promotion was aborted')
    options.signal?.addEventListener('abort', onAbort, { once: true })
    this.unwatch = () => {
      timer.cancel()
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  /** From here on the outcome is unknown to whoever stops waiting. */
  begin(): void {
    this.begun = true
  }

  resolve(result: PromoteResult): void {
    this.unwatch()
    this.settle.resolve(result)
  }

  reject(error: Error): void {
    this.unwatch()
    this.settle.reject(error)
  }

  private giveUp(code: 'TIMEOUT' | 'ABORTED', message: string): void {
    if (!this.begun) this.onGivenUp()
    this.reject(
      new UnderstudyError(code, message, {
        outcome: this.begun ? 'unknown' : 'none',
        hint: 'look at the status before you repeat it',
      }),
    )
  }
}
