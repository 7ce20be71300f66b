import { compareEpochs, formatEpoch, higherEpoch } from '../core/position.js'
import { compareRecords, sameMember } from '../core/record.js'
import { decideCreate } from '../core/start.js'
import type { Timer } from '../ports/clock.js'
import type { AutomaticCoordinator, MemberAddress, RecordState } from '../ports/coordinator.js'
import type { PromoteResult } from './handle.js'
import type { Leadership, LeadershipHost } from './leadership.js'
import { PrimaryWatch } from './primary-watch.js'
import { firstRecord } from './promoter.js'
import { PromotionByHand } from './promotion-by-hand.js'
import { RecordJudge } from './record-judge.js'
import { RecordKeeper } from './record-keeper.js'
import type { ShardContext } from './shard-context.js'
import type { Superblock } from './shard-store.js'
import { Takeover } from './takeover.js'

/**
 * One shard under a coordinator: follows whom the record names, takes over when nobody hears that node any more, and
 * gives up when this node is the one that cannot. The decisions are the core's (core/takeover.ts); the record changes
 * by compare-and-swap alone.
 */
export class AutomaticLeadership implements Leadership {
  private readonly host: LeadershipHost
  private readonly context: ShardContext
  private readonly keeper: RecordKeeper
  private readonly judge: RecordJudge
  private readonly takeover: Takeover
  private readonly watch: PrimaryWatch
  private tickTimer: Timer | undefined
  private closed = false
  private checkingRecord = false
  /** The coordinator's record, not this node's own history, is why it is fenced. */
  private fencedByRecord = false

  constructor(host: LeadershipHost, coordinator: AutomaticCoordinator) {
    const { context } = host
    this.host = host
    this.context = context
    this.keeper = new RecordKeeper(context, coordinator)
    this.judge = new RecordJudge(context, this.keeper)
    this.watch = new PrimaryWatch(context, (reason) => this.resign(reason))
    this.takeover = new Takeover(context, this.keeper, this.judge, {
      onDeposed: (reason) => host.demote(reason),
      onFailed: (error) => host.fail(error),
      onLeading: () => this.watch.begin(),
    })
    context.cluster.onChange(() => this.onClusterChange())
  }

  start(): void {
    const { cluster, store, peers } = this.context
    cluster.recall(store.superblock?.members ?? [])
    peers.update(cluster.others)
    this.scheduleTick()
  }

  close(): void {
    this.closed = true
    this.takeover.close()
    this.tickTimer?.cancel()
  }

  onRoleEnded(): void {
    this.takeover.onRoleEnded()
  }

  promote(force: boolean): Promise<PromoteResult> {
    return new PromotionByHand(this.context, this.keeper, this.judge, this.takeover).run(force)
  }

  /** The directory is empty. */
  async stepWithoutData(byHand: boolean): Promise<void> {
    const { context } = this
    const state = await this.judge.tryRead(this.host.signal)
    if (state === undefined) {
      context.explain('waiting for the coordinator')
      await context.wake.wait(context.timings.pollMs)
      return
    }
    if (state.record !== undefined) return this.host.bootstrap(state.record.historyId, 'this directory is empty')
    const decision = decideCreate({
      node: context.config.node,
      inSyncMin: context.config.settings.inSyncMin,
      registered: context.configuredNames,
      answers: context.peers.answers,
      byHand,
    })
    if (decision.type === 'create') return this.createHistory(state)
    if (decision.type === 'wait') context.explain(decision.reason)
    await context.wake.wait(context.timings.pollMs)
  }

  /** There is data, and this node is not the primary. */
  async step(): Promise<void> {
    const { context, host } = this
    const handedOver = this.handedOver()
    if (handedOver !== undefined) return this.takeover.acceptHandOver(handedOver)
    const verdict = await this.judge.judge(host.signal)
    if (verdict?.type === 'fence') {
      this.fencedByRecord ||= context.state !== 'fenced'
      context.transition('fence', verdict.reason)
      context.explain(`${verdict.reason}: ${verdict.hint}`)
      await context.wake.wait(context.timings.pollMs)
      return
    }
    if (verdict !== undefined && this.fencedByRecord) {
      this.fencedByRecord = false
      context.transition('unfence', 'the coordinator has the record again')
    }
    if (verdict?.type === 'absent') return this.announceProvisional()
    if (verdict !== undefined && context.store.superblock?.provisional === true) {
      const own = context.store.superblock.record
      if (verdict.record.historyId !== own.historyId) return host.discardProvisional()
    }
    // Without a coordinator nobody takes over, but who is known to lead can be followed.
    const record = verdict?.record ?? context.newestRecord!
    const decision = verdict === undefined ? undefined : this.takeover.decide(verdict.record)
    if (decision?.type === 'take' || decision?.type === 'lead') return this.takeover.attempt(host.signal)
    if (!sameMember(record.primary, context.self!)) return host.follow(record)
    const reason =
      decision === undefined || decision.type === 'follow' ? 'waiting for the coordinator' : decision.reason
    context.explain(reason)
    await context.wake.wait(context.timings.pollMs)
  }

  /** What the watch has told, if it is that the old primary handed over to this node. */
  private handedOver(): RecordState | undefined {
    const { context } = this
    const { state } = context.cluster
    const record = state?.record
    if (state === undefined || record?.handedOver !== true || !sameMember(record.primary, context.self!))
      return undefined
    if (context.store.superblock?.provisional === true || this.judge.judgeState(state).type !== 'current')
      return undefined
    return this.takeover.decide(record).type === 'lead' ? state : undefined
  }

  // History

  private async createHistory(state: RecordState): Promise<void> {
    const { context } = this
    const historyId = context.random.hex(16)
    const incarnation = context.random.hex(16)
    const record = { ...firstRecord(context, historyId, incarnation), coordinatorId: state.coordinatorId, voters: [] }
    await this.host.createData(record)
    await this.announceProvisional()
  }

  /** The record of a history that was just created here; the first one that is announced counts. */
  private async announceProvisional(): Promise<void> {
    const { context } = this
    const superblock = context.store.superblock!
    if (!superblock.provisional) return
    const state = await this.judge.tryRead(this.host.signal)
    if (state === undefined) {
      context.explain('waiting for the coordinator')
      await context.wake.wait(context.timings.pollMs)
      return
    }
    if (state.record !== undefined && state.record.nonce !== superblock.record.nonce)
      return this.host.discardProvisional()
    const record = { ...superblock.record, coordinatorId: state.coordinatorId }
    const result = await this.keeper.swap(0, record, { signal: this.takeover.closed })
    if (!result.swapped) return this.host.discardProvisional()
    context.transition('promote', 'a new history begins: all nodes were empty')
    await this.takeover.lead(record, result.state.revision, 'start', 0, undefined)
  }

  // Being told

  private onClusterChange(): void {
    const { context, host } = this
    if (this.closed) return
    context.peers.update(context.cluster.others)
    this.rememberCompany()
    const { record, state } = context.cluster
    const { primary } = context
    if (primary !== undefined && state !== undefined) {
      // A record of another history, as of another cluster's store, says nothing of the epochs of this one.
      const isOwn = record?.historyId === context.historyId
      if (record !== undefined && isOwn && compareEpochs(record.epoch, primary.epoch) > 0) {
        host.demote(`${record.primary.node} leads in epoch ${formatEpoch(record.epoch)}`)
        void host.observe(record.epoch).catch((error) => host.fail(error))
      } else if (record === undefined || !isOwn || compareRecords(record, primary.durableRecord) < 0) this.checkRecord()
    }
    context.wake.signal()
    host.onPrimaryChanged()
    this.look()
  }

  private rememberCompany(): void {
    const { store, cluster } = this.context
    const members = cluster.others
    if (members.length === 0 || store.superblock === undefined || knows(store.superblock, members)) return
    store
      .update((now) => (knows(now, members) ? now : { ...now, hadCompany: true, members }))
      .catch((error) => {
        // A provisional history may have been given up in the meantime.
        if (!this.closed && store.superblock !== undefined) this.host.fail(error)
      })
  }

  /** The watch shows less than what was swapped: late, or the store went backwards. A read tells. */
  private checkRecord(): void {
    if (this.checkingRecord) return
    this.checkingRecord = true
    this.judge
      .tryRead(this.takeover.closed)
      .then((state) => {
        const { primary } = this.context
        if (state === undefined || primary === undefined || this.closed) return
        const verdict = this.judge.judgeState(state)
        if (verdict.type === 'fence') {
          this.context.logger.error({ reason: verdict.reason }, 'the coordinator cannot be trusted')
          this.host.resign(verdict.reason)
        }
      })
      .finally(() => {
        this.checkingRecord = false
      })
      .catch((error) => this.host.fail(error))
  }

  private resign(reason: string): void {
    const { context } = this
    this.takeover.coolFor(2 * context.timings.failoverMs)
    this.host.resign(reason)
  }

  private scheduleTick(): void {
    this.tickTimer = this.context.clock.setTimer(this.context.timings.heartbeatMs, () => {
      if (this.closed) return
      try {
        if (this.context.primary !== undefined) this.watch.tick()
        else this.look()
      } catch (error) {
        this.host.fail(error)
      }
      this.scheduleTick()
    })
  }

  /** While the loop follows or waits: is it time to try? */
  private look(): void {
    const { context } = this
    const { record } = context.cluster
    if (this.takeover.attempting || context.primary !== undefined || context.data === undefined) return
    if (record === undefined || record.historyId !== context.historyId || context.failure !== undefined) return
    if (context.store.superblock?.provisional === true || !context.cluster.connected) return
    if (compareEpochs(record.epoch, higherEpoch(context.promised, context.record!.epoch)) < 0) return
    const decision = this.takeover.decide(record)
    if (decision.type === 'take' || decision.type === 'lead') this.host.interrupt()
  }
}

function knows({ hadCompany, members: known = [] }: Superblock, members: readonly MemberAddress[]): boolean {
  if (hadCompany !== true || known.length !== members.length) return false
  return members.every(({ node, address }) => known.some((one) => one.node === node && one.address === address))
}
