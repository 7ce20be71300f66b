import { type Epoch, sameEpoch } from '../core/position.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { forcedLoss } from './forced-loss.js'
import type { PromoteOptions, PromoteResult } from './handle.js'
import { PromotionRequest } from './promotion-request.js'
import type { ShardContext } from './shard-context.js'

/** What operators ask of one shard by hand: one promotion at a time, carried out by the shard's loop. */
export class Promotions {
  private readonly context: ShardContext
  /** Ends what the loop waits in. */
  private readonly interrupt: () => void
  private request: PromotionRequest | undefined
  /** What the last one answered. */
  private promoted: PromoteResult | undefined

  constructor(context: ShardContext, interrupt: () => void) {
    this.context = context
    this.interrupt = interrupt
  }

  /** Somebody waits for one. */
  get isAsked(): boolean {
    return this.request !== undefined
  }

  ask(options: PromoteOptions): Promise<PromoteResult> {
    const { context } = this
    if (context.primary !== undefined) return Promise.resolve(this.leadsAlready(context.primary.epoch))
    if (context.stopping) return Promise.reject(new UnderstudyError('CLOSED', `${context.config.node} is closed`))
    if (context.failure !== undefined) return Promise.reject(context.failure)
    if (this.request !== undefined)
      return Promise.reject(new UnderstudyError('PROMOTION_REFUSED', 'a promotion is under way'))
    if (context.state === 'bootstrapping') {
      const message = `${context.config.node} is still being built and has no complete data`
      const hint = 'promote another node, or wait until the bootstrap is done'
      return Promise.reject(new UnderstudyError('PROMOTION_REFUSED', message, { hint }))
    }
    const request: PromotionRequest = new PromotionRequest({
      options,
      timeoutMs: options.timeoutMs ?? context.config.writeTimeoutMs,
      clock: context.clock,
      describe: () => `${context.state}: ${context.reason}`,
      onGivenUp: () => {
        if (this.request === request) this.request = undefined
      },
    })
    this.request = request
    this.interrupt()
    return request.answer
  }

  /** By the loop, once somebody has asked. Rejects with what is no answer to an operator but a failure of the node. */
  async carryOut(promote: (force: boolean) => Promise<PromoteResult>): Promise<void> {
    const { context } = this
    const request = this.request!
    request.begin()
    try {
      if (context.primary !== undefined) {
        request.resolve(this.leadsAlready(context.primary.epoch))
        return
      }
      this.promoted = await promote(request.force)
      request.resolve(this.promoted)
    } catch (error) {
      if (context.state === 'promoting' && context.primary === undefined) {
        context.transition('promotion-failed', error instanceof Error ? error.message : String(error))
      }
      request.reject(toUnderstudyError(error, 'promotion'))
      if (!(error instanceof UnderstudyError)) throw error
    } finally {
      this.request = undefined
    }
  }

  refuse(reason: string): void {
    this.end(new UnderstudyError('PROMOTION_REFUSED', reason))
  }

  end(error: Error): void {
    this.request?.reject(error)
    this.request = undefined
  }

  /** Asked again because the answer was lost, it says again what the promotion may lose. */
  private leadsAlready(epoch: Epoch): PromoteResult {
    const { promoted } = this
    const isKnown = promoted !== undefined && sameEpoch(promoted.epoch, epoch)
    const mayLose = isKnown ? promoted.mayLose : forcedLoss(this.context.primary!.inSync.record, undefined)
    return { epoch, position: this.context.data!.journal.appended, mayLose }
  }
}
