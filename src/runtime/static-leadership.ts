import { limits } from '../core/limits.js'
import { formatEpoch } from '../core/position.js'
import { sameMember } from '../core/record.js'
import { decideStart } from '../core/start.js'
import { isFailure } from '../errors.js'
import type { StaticCoordinator } from '../ports/coordinator.js'
import type { PromoteResult } from './handle.js'
import type { Leadership, LeadershipHost } from './leadership.js'
import { firstRecord, type LeadHooks, lead, promote, saveOwnRecord } from './promoter.js'
import type { ShardContext } from './shard-context.js'

/** One shard whose primary is changed by hand: every node keeps the record itself (C8). */
export class StaticLeadership implements Leadership {
  private readonly host: LeadershipHost
  private readonly context: ShardContext
  private readonly coordinator: StaticCoordinator
  /** Was told a higher epoch while primary: this process does not make itself primary again. */
  private deposed = false

  constructor(host: LeadershipHost, coordinator: StaticCoordinator) {
    this.host = host
    this.context = host.context
    this.coordinator = coordinator
  }

  start(): void {}

  close(): void {}

  onRoleEnded(): void {
    this.deposed = true
  }

  async stepWithoutData(byHand: boolean): Promise<void> {
    const { context, host } = this
    const decision = decideStart({
      node: context.config.node,
      own: undefined,
      configured: context.configuredNames,
      initialPrimary: this.coordinator.initialPrimary,
      answers: context.peers.answers,
      byHand,
    })
    if (decision.type === 'create') return this.createHistory()
    if (decision.type === 'bootstrap') {
      host.refusePromotion('this node has no data, another one has')
      return host.bootstrap(decision.historyId, 'this directory is empty')
    }
    if (decision.type === 'wait') {
      host.refusePromotion(decision.reason)
      context.explain(decision.reason)
    }
    await context.wake.wait(limits.pollMs)
  }

  step(): Promise<void> {
    const record = this.context.newestRecord!
    if (!sameMember(record.primary, this.context.self!)) return this.host.follow(record)
    return this.stepFormerPrimary()
  }

  promote(force: boolean): Promise<PromoteResult> {
    return this.becomePrimary(force, 'promotion by hand')
  }

  private async stepFormerPrimary(): Promise<void> {
    const { context } = this
    const decision = decideStart({
      node: context.config.node,
      own: { member: context.self!, record: context.record! },
      configured: context.record!.voters,
      initialPrimary: undefined,
      answers: context.peers.answers,
      byHand: false,
    })
    if (decision.type === 'promote' && !this.deposed) {
      try {
        await this.becomePrimary(false, 'all other nodes confirmed that there is no higher epoch')
      } catch (error) {
        if (!isFailure(error, 'PROMOTION_REFUSED')) throw error
        context.logger.warn({ error: error.message }, 'not primary again')
        await this.pause()
      }
      return
    }
    if (decision.type === 'wait') {
      if (decision.fenced) context.transition('fence', decision.reason)
      context.explain(decision.reason)
    } else if (this.deposed) {
      context.transition('fence', 'deposed')
      context.explain(
        `epoch ${formatEpoch(context.promised)} was promised, but nobody leads in it: promote a node by hand`,
      )
    }
    await context.wake.wait(limits.pollMs)
  }

  /** The answers to the question that was refused wake the loop too: without a pause it would ask again at once (F12). */
  private async pause(): Promise<void> {
    const { context, host } = this
    const untilMs = context.clock.nowMs() + limits.pollMs
    while (context.clock.nowMs() < untilMs && !host.signal.aborted && !context.stopping) {
      await context.wake.wait(Math.max(1, untilMs - context.clock.nowMs()))
    }
  }

  private async becomePrimary(force: boolean, reason: string): Promise<PromoteResult> {
    const { context } = this
    context.transition('promote', reason)
    try {
      const result = await promote(context, force, this.leadHooks())
      this.deposed = false
      return result
    } catch (error) {
      context.transition('promotion-failed', error instanceof Error ? error.message : String(error))
      throw error
    }
  }

  private async createHistory(): Promise<void> {
    const { context } = this
    const record = firstRecord(context, context.random.hex(16), context.random.hex(16))
    await this.host.createData(record)
    context.transition('promote', 'a new history begins: all nodes were empty')
    await lead(context, record, this.leadHooks())
  }

  private leadHooks(): LeadHooks {
    return {
      saveRecord: (record) => saveOwnRecord(this.context, record),
      onDeposed: (reason) => this.host.demote(reason),
      onFailed: (error) => this.host.fail(error),
    }
  }
}
