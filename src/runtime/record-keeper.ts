import { backoffMs } from '../core/backoff.js'
import { limits } from '../core/limits.js'
import type { ShardRecord } from '../core/record.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { AutomaticCoordinator, RecordState, SwapResult } from '../ports/coordinator.js'
import type { ShardContext } from './shard-context.js'

/** The coordinator's record of one shard as this node changes it: a swap is repeated until its outcome is known. */
export class RecordKeeper {
  private readonly context: ShardContext
  private readonly coordinator: AutomaticCoordinator

  constructor(context: ShardContext, coordinator: AutomaticCoordinator) {
    this.context = context
    this.coordinator = coordinator
  }

  /** As it is now. Rejects when the coordinator does not answer in time. */
  async read(signal?: AbortSignal): Promise<RecordState> {
    const { context } = this
    try {
      const state = await this.coordinator.read(context.config.name, this.call(signal))
      context.cluster.note(state)
      return state
    } catch (error) {
      if (signal?.aborted !== true) context.observer.coordinatorErrors += 1
      throw error
    }
  }

  /**
   * Repeats the very same swap until it is known to have happened or can no longer happen: of all attempts at one
   * revision only one takes effect, and its nonce tells whose it was (C3). Rejects when aborted, or at `deadlineMs`
   * (outcome unknown).
   */
  async swap(
    expectedRevision: number,
    next: ShardRecord,
    options: { readonly signal?: AbortSignal; readonly deadlineMs?: number } = {},
  ): Promise<SwapResult> {
    const { context } = this
    const { signal, deadlineMs = Number.POSITIVE_INFINITY } = options
    for (let attempt = 0; ; attempt++) {
      try {
        const result = await this.coordinator.swap(context.config.name, expectedRevision, next, this.call(signal))
        context.cluster.note(result.state)
        const mine = result.swapped || result.state.record?.nonce === next.nonce
        return { swapped: mine, state: result.state }
      } catch (error) {
        if (signal?.aborted) throw error
        context.observer.coordinatorErrors += 1
        const failure = toUnderstudyError(error, 'the coordinator')
        if (failure.failure === 'CLOSED') throw failure
        context.logger.warn(
          { error: failure.message, attempt },
          'the coordinator did not answer a change of the record',
        )
        if (context.clock.nowMs() > deadlineMs) {
          throw new UnderstudyError('UNAVAILABLE', failure.message, { outcome: 'unknown', cause: failure })
        }
        await this.pause(
          backoffMs(attempt, limits.reconnectMinMs, context.timings.failoverMs, context.random.next()),
          signal,
        )
      }
    }
  }

  private call(signal: AbortSignal | undefined) {
    const timeoutMs = Math.max(limits.coordinatorCallMsMin, this.context.timings.silenceMs)
    return signal === undefined ? { timeoutMs } : { timeoutMs, signal }
  }

  private pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        timer.cancel()
        reject(new UnderstudyError('ABORTED', 'the change of the record was aborted', { outcome: 'unknown' }))
      }
      const timer = this.context.clock.setTimer(delayMs, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      if (signal?.aborted) onAbort()
      else signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}
