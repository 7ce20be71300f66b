import type { FailureCode } from '../core/failure.js'
import { compareEpochs, epochZero, formatEpoch, higherEpoch, sameEpoch } from '../core/position.js'
import { compareRecords, newerRecord, type ShardRecord, sameMember } from '../core/record.js'
import { decideCreate } from '../core/start.js'
import {
  decideForced,
  decideTakeover,
  judgeRecord,
  type MemberState,
  type RecordVerdict,
  type TakeoverDecision,
} from '../core/takeover.js'
import { errorFromFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Timer } from '../ports/clock.js'
import type { AutomaticCoordinator, RecordState } from '../ports/coordinator.js'
import { FailoverLog } from './failover-log.js'
import type { FailoverRecord, LossEstimate, PromoteResult } from './handle.js'
import { PrimaryWatch } from './primary-watch.js'
import { firstRecord, lead } from './promoter.js'
import { RecordKeeper } from './record-keeper.js'
import type { ShardContext } from './shard-context.js'
import type { StandbyRole } from './standby-role.js'

/** Failures of a takeover that leave this node as it was. */
const passing: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'UNAVAILABLE',
  'TIMEOUT',
  'ABORTED',
  'PROMOTION_REFUSED',
])

/** What the shard's loop does for this role, and what it is told. */
export interface AutomaticHost {
  readonly context: ShardContext
  readonly standbyRole: StandbyRole
  /** Aborted when the loop shall look again; a new one for each step. */
  readonly signal: AbortSignal
  /** Ends what the loop waits in. */
  interrupt(): void
  bootstrap(historyId: string, reason: string): Promise<void>
  /** Follows the primary of `record`; rebuilds the data where that cannot be. */
  follow(record: ShardRecord): Promise<void>
  createData(record: ShardRecord): Promise<void>
  discardProvisional(): Promise<void>
  observe(epoch: ShardRecord['epoch']): Promise<void>
  /** Ends the role of primary. */
  demote(reason: string): void
  resign(reason: string): void
  fail(error: unknown): void
}

/**
 * One shard under a coordinator: follows whom the record names, takes over when nobody hears that node any more, and
 * gives up when this node is the one that cannot. The decisions are the core's (core/takeover.ts); the record changes
 * by compare-and-swap alone.
 */
export class AutomaticRole {
  readonly keeper: RecordKeeper
  private readonly host: AutomaticHost
  private readonly context: ShardContext
  private readonly watch: PrimaryWatch
  private readonly log: FailoverLog
  private tickTimer: Timer | undefined
  /** Not the loop's own interruption: the watch may tell of a swap before its reply does. */
  private readonly closing = new AbortController()
  private attempting = false
  private closed = false
  /** When the primary was last heard; this process's start before the first time. */
  private heardAtMs: number
  private coolUntilMs = 0
  /** The epoch of the newest record, and until when its primary is expected to be heard for the first time. */
  private newEpoch = epochZero
  private graceUntilMs = 0
  private jitter: number
  private checkingRecord = false
  /** Revision of the record at which this node's last swap was sent, while it may still happen. */
  private swapSentAt: number | undefined

  constructor(host: AutomaticHost, coordinator: AutomaticCoordinator) {
    this.host = host
    this.context = host.context
    this.keeper = new RecordKeeper(host.context, coordinator)
    this.watch = new PrimaryWatch(host.context, (reason) => this.resign(reason))
    this.log = new FailoverLog(host.context)
    this.heardAtMs = host.context.clock.nowMs()
    this.jitter = host.context.random.next()
    host.context.mayPromise = () => this.mayPromise()
    host.context.cluster.onChange(() => this.onClusterChange())
  }

  start(): void {
    this.context.peers.update(this.context.cluster.others)
    this.scheduleTick()
  }

  close(): void {
    this.closed = true
    this.closing.abort()
    this.tickTimer?.cancel()
  }

  /** This node is no longer primary: it has promised nothing to the next one, which is given its time all the same. */
  onRoleEnded(): void {
    const nowMs = this.context.clock.nowMs()
    this.heardAtMs = nowMs
    this.coolUntilMs = Math.max(this.coolUntilMs, nowMs + this.context.timings.silenceMs)
  }

  /** The directory is empty. */
  async stepWithoutData(byHand: boolean): Promise<void> {
    const { context } = this
    const state = await this.tryRead()
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
    const verdict = await this.judge()
    if (verdict?.type === 'fence') {
      context.transition('fence', verdict.reason)
      context.explain(`${verdict.reason}: ${verdict.hint}`)
      await context.wake.wait(context.timings.pollMs)
      return
    }
    if (verdict?.type === 'absent') return this.announceProvisional()
    if (verdict !== undefined && context.store.superblock?.provisional === true) {
      const own = context.store.superblock.record
      if (verdict.record.historyId !== own.historyId) return host.discardProvisional()
    }
    // Without a coordinator nobody takes over, but who is known to lead can be followed.
    const record = verdict?.record ?? context.newestRecord!
    const decision = verdict === undefined ? undefined : this.decide(verdict.record)
    if (decision?.type === 'take' || decision?.type === 'lead') return this.attempt()
    if (!sameMember(record.primary, context.self!)) return host.follow(record)
    const reason =
      decision === undefined || decision.type === 'follow' ? 'waiting for the coordinator' : decision.reason
    context.explain(reason)
    await context.wake.wait(context.timings.pollMs)
  }

  /** Asked for by an operator: the same rules, without waiting for the primary to be missed; `force` goes further. */
  async promoteByHand(force: boolean): Promise<PromoteResult> {
    const { context } = this
    const data = context.data
    if (data === undefined || context.self === undefined) {
      throw new UnderstudyError('PROMOTION_REFUSED', `${context.config.node} has no data yet (${context.state})`)
    }
    const begunMs = context.clock.nowMs()
    await data.journal.mark()
    await this.waitOutPromise()
    const answers = await this.answers()
    const state = await this.keeper.read()
    const stored = context.store.superblock!.record
    const verdict = this.judgeState(state)
    if (verdict.type === 'current' && !force) {
      const decision = decideTakeover({
        ...(await this.question(verdict.record, answers)),
        answers: answers.map((answer) => ({ ...answer, hearsPrimary: false, durable: undefined })),
        hearsPrimary: false,
        coolUntilMs: 0,
      })
      if (decision.type === 'lead')
        return this.lead(decision.record, state.revision, 'by-hand', context.clock.nowMs() - begunMs, undefined)
      if (decision.type !== 'take') {
        const hint = 'promote a member of the in-sync set, or repeat with force if they are lost for good'
        const reason = decision.type === 'follow' ? 'the primary is there' : decision.reason
        throw new UnderstudyError('PROMOTION_REFUSED', reason, { hint })
      }
      return this.take(decision.record, state.revision, 'by-hand', context.clock.nowMs() - begunMs, undefined)
    }
    const known = answers.reduce<ShardRecord>(
      (newest, answer) =>
        newerRecord(newest, answer.historyId === stored.historyId ? answer.record : undefined) ?? newest,
      newerRecord(stored, state.record?.historyId === stored.historyId ? state.record : undefined) ?? stored,
    )
    const forced = decideForced({
      self: context.self,
      coordinatorId: state.coordinatorId,
      known,
      promised: context.promised,
      durable: data.journal.durable,
      committedEnd: await data.committedEnd(),
      holdsFloor: await data.holds(known.floor),
      answers,
      nonce: context.random.hex(16),
      force,
    })
    if (forced.type === 'refuse') throw errorFromFailure(forced.failure)
    if (state.record !== undefined && state.record.historyId !== stored.historyId && !force) {
      throw new UnderstudyError('PROMOTION_REFUSED', 'the coordinator has a record of another history')
    }
    if (forced.record.lossy) await this.waitOutRegistration(known, answers)
    const mayLose: LossEstimate | undefined = forced.record.lossy
      ? {
          entries: forced.missingEntries,
          seconds: undefined,
          reason: 'forced promotion: entries committed elsewhere may be missing',
        }
      : undefined
    return this.take(forced.record, state.revision, 'by-hand', context.clock.nowMs() - begunMs, mayLose)
  }

  // Deciding

  private decide(record: ShardRecord): TakeoverDecision {
    const { context } = this
    const data = context.data!
    return decideTakeover({
      ...this.situation(record, context.peers.answers),
      durable: data.journal.durable,
      committedEnd: data.applier.applied,
      // Looked up when it matters: this decision only says whether to try.
      holdsFloor: true,
    })
  }

  private async question(record: ShardRecord, answers: readonly MemberState[]) {
    const data = this.context.data!
    return {
      ...this.situation(record, answers),
      durable: data.journal.durable,
      committedEnd: await data.committedEnd(),
      holdsFloor: await data.holds(record.floor),
    }
  }

  private situation(record: ShardRecord, answers: readonly MemberState[]) {
    const { context } = this
    const { superblock } = context.store
    const nowMs = context.clock.nowMs()
    const { hearsPrimary } = context
    if (hearsPrimary) this.heardAtMs = nowMs
    // Whoever has just become primary needs a moment before it can be heard.
    if (!sameEpoch(record.epoch, this.newEpoch)) {
      this.newEpoch = record.epoch
      this.graceUntilMs = nowMs + context.timings.silenceMs
    }
    if (hearsPrimary || sameMember(record.primary, context.self!)) this.graceUntilMs = 0
    return {
      nowMs,
      self: context.self!,
      record,
      promised: context.promised,
      led: superblock?.led ?? epochZero,
      unfit: context.unfit,
      promiseUntilMs: context.leasePromise.untilMs,
      hearsPrimary,
      heardAtMs: this.heardAtMs,
      coolUntilMs: Math.max(this.coolUntilMs, this.graceUntilMs),
      answers: answers.filter((answer) => answer.historyId === record.historyId),
      jitter: this.jitter,
      nonce: context.random.hex(16),
      timings: context.timings,
    }
  }

  /** The coordinator's record, as it was watched if that is plausible, else read; undefined if it does not answer. */
  private async judge(): Promise<RecordVerdict | undefined> {
    const { state, connected } = this.context.cluster
    if (state !== undefined) {
      const watched = this.judgeState(state)
      if (watched.type === 'current') {
        await this.adopt(watched.record)
        return watched
      }
    }
    if (!connected) return undefined
    const read = await this.tryRead()
    if (read === undefined) return undefined
    const verdict = this.judgeState(read)
    if (verdict.type === 'current') await this.adopt(verdict.record)
    return verdict
  }

  private judgeState(state: RecordState): RecordVerdict {
    const { superblock } = this.context.store
    const { record: found, coordinatorId } = state
    if (superblock?.provisional === true) {
      // Nothing was written here: whatever the coordinator has counts.
      return found === undefined ? { type: 'absent' } : { type: 'current', record: found }
    }
    return judgeRecord({ coordinatorId, found, stored: superblock?.record, promised: this.context.promised })
  }

  private async adopt(record: ShardRecord): Promise<void> {
    const { store } = this.context
    const stored = store.superblock
    if (stored === undefined || stored.provisional || compareRecords(record, stored.record) <= 0) return
    await store.update((now) => (compareRecords(record, now.record) > 0 ? { ...now, record } : now))
    this.context.emit({ type: 'record', record })
  }

  private async tryRead(): Promise<RecordState | undefined> {
    try {
      return await this.keeper.read(this.host.signal)
    } catch (error) {
      this.context.logger.debug({ error: String(error) }, 'the coordinator does not answer')
      return undefined
    }
  }

  // Taking over

  private async attempt(): Promise<void> {
    const { context } = this
    const data = context.data!
    this.attempting = true
    try {
      await data.journal.mark()
      const [answers, state] = await Promise.all([this.answers(), this.tryRead()])
      const verdict = state === undefined ? undefined : this.judgeState(state)
      if (state === undefined || verdict?.type !== 'current') return this.cool()
      const decision = decideTakeover(await this.question(verdict.record, answers))
      const missedMs = context.clock.nowMs() - this.heardAtMs
      const named = sameMember(verdict.record.primary, context.self!)
      if (decision.type === 'lead') {
        context.transition('promote', `the record names this node in epoch ${formatEpoch(decision.record.epoch)}`)
        await this.lead(
          decision.record,
          state.revision,
          decision.record.handedOver ? 'switchover' : 'start',
          missedMs,
          undefined,
        )
      } else if (decision.type === 'take') {
        context.logger.warn({ from: verdict.record.primary.node, missedMs: Math.round(missedMs) }, decision.reason)
        const mayLose = named ? undefined : this.lossOf(verdict.record)
        await this.take(decision.record, state.revision, named ? 'start' : 'failover', missedMs, mayLose)
      } else if (decision.type !== 'follow') {
        context.explain(decision.reason)
        await context.wake.wait(context.timings.heartbeatMs)
      }
    } catch (error) {
      const failure = toUnderstudyError(error, 'takeover')
      if (context.state === 'promoting' && context.primary === undefined) {
        context.transition('promotion-failed', failure.message)
      }
      // Everything else is of this node: its disk, or a bug.
      if (!passing.has(failure.failure)) throw error
      context.logger.warn({ error: failure.message }, 'not primary')
      this.cool()
    } finally {
      this.attempting = false
      this.jitter = context.random.next()
    }
  }

  private async take(
    next: ShardRecord,
    revision: number,
    kind: FailoverRecord['kind'],
    missedMs: number,
    mayLose: LossEstimate | undefined,
  ): Promise<PromoteResult> {
    const { context } = this
    context.transition('promote', `taking over in epoch ${formatEpoch(next.epoch)}`)
    const deadlineMs = context.clock.nowMs() + context.timings.failoverMs
    this.swapSentAt = revision
    const result = await this.keeper.swap(revision, next, { signal: this.closing.signal, deadlineMs })
    this.swapSentAt = undefined
    if (!result.swapped) {
      const winner = result.state.record?.primary.node ?? 'nobody'
      throw new UnderstudyError('PROMOTION_REFUSED', `${winner} was faster`, { retryable: true })
    }
    return this.lead(next, result.state.revision, kind, missedMs, mayLose)
  }

  /** Whose swap may still happen is primary as soon as it does, whatever it promised meanwhile: so it does not (L1). */
  private mayPromise(): boolean {
    if (this.attempting) return false
    return this.swapSentAt === undefined || (this.context.cluster.state?.revision ?? 0) > this.swapSentAt
  }

  private async lead(
    record: ShardRecord,
    revisionAtStart: number,
    kind: FailoverRecord['kind'],
    missedMs: number,
    mayLose: LossEstimate | undefined,
  ): Promise<PromoteResult> {
    const { context, host } = this
    let revision = revisionAtStart
    const sinceMs = context.clock.nowMs() - missedMs
    if (context.state !== 'promoting') context.transition('promote', `leading in epoch ${formatEpoch(record.epoch)}`)
    await lead(context, record, {
      saveRecord: async (next, signal) => {
        const result = await this.keeper.swap(revision, next, { signal })
        revision = result.state.revision
        if (result.swapped) await context.store.update((now) => ({ ...now, record: next }))
        return result.state.record
      },
      onDeposed: (reason) => host.demote(reason),
      onFailed: (error) => host.fail(error),
      onReady: () => this.log.add(record, kind, context.clock.nowMs() - sinceMs, mayLose),
    })
    this.watch.begin()
    return { epoch: record.epoch, position: context.data!.journal.appended, mayLose }
  }

  /** All others but the old primary are asked anew; what that one said last is known. */
  private async answers(): Promise<MemberState[]> {
    const { context } = this
    const old = context.newestRecord?.primary.node
    const only = new Set(context.peers.views.map((view) => view.node).filter((node) => node !== old))
    const fresh = await context.peers.ask({ only, timeoutMs: context.timings.preCheckMs })
    return [...fresh, ...context.peers.answers.filter((answer) => answer.member.node === old)]
  }

  /** At durability `local` the old primary may have acknowledged what never came here. */
  private lossOf(record: ShardRecord): LossEstimate | undefined {
    const { context } = this
    if (record.settings.durability !== 'local') return undefined
    const { announced, heardAtMs } = context.lastHeard
    const entries = Math.max(0, announced - context.data!.journal.durable.sequence)
    const seconds = Math.max(0, (context.clock.nowMs() - Math.max(heardAtMs, this.heardAtMs)) / 1000)
    return {
      entries,
      seconds: Math.round(seconds * 1000) / 1000,
      reason: `durability local: writes that ${record.primary.node} acknowledged in the last ${seconds.toFixed(1)} s may be missing, ${entries} of them are known of`,
    }
  }

  private cool(): void {
    const { clock, random, timings } = this.context
    this.coolUntilMs = Math.max(this.coolUntilMs, clock.nowMs() + timings.heartbeatMs * (1 + random.next()))
  }

  private waitOutPromise(): Promise<void> {
    const { clock, leasePromise } = this.context
    return this.sleep(leasePromise.untilMs - clock.nowMs())
  }

  /** A primary that is alone in its set may go on under its registration, without anybody's promise (L4). */
  private async waitOutRegistration(known: ShardRecord, answers: readonly MemberState[]): Promise<void> {
    const { context } = this
    const gone = answers.some((answer) => sameMember(answer.member, known.primary) && answer.state !== 'primary')
    if (known.inSync.length > 1 || gone || sameMember(known.primary, context.self!)) return
    await this.sleep(context.timings.registrationMs)
  }

  private sleep(delayMs: number): Promise<void> {
    if (delayMs <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.context.clock.setTimer(delayMs, resolve)
    })
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
    const state = await this.tryRead()
    if (state === undefined) {
      context.explain('waiting for the coordinator')
      await context.wake.wait(context.timings.pollMs)
      return
    }
    if (state.record !== undefined && state.record.nonce !== superblock.record.nonce)
      return this.host.discardProvisional()
    const record = { ...superblock.record, coordinatorId: state.coordinatorId }
    const result = await this.keeper.swap(0, record, { signal: this.closing.signal })
    if (!result.swapped) return this.host.discardProvisional()
    context.transition('promote', 'a new history begins: all nodes were empty')
    await this.lead(record, result.state.revision, 'start', 0, undefined)
  }

  // Being told

  private onClusterChange(): void {
    const { context, host } = this
    if (this.closed) return
    context.peers.update(context.cluster.others)
    const { record, state } = context.cluster
    const { primary } = context
    if (primary !== undefined && state !== undefined) {
      if (record !== undefined && compareEpochs(record.epoch, primary.epoch) > 0) {
        host.demote(`${record.primary.node} leads in epoch ${formatEpoch(record.epoch)}`)
        void host.observe(record.epoch).catch((error) => host.fail(error))
      } else if (record === undefined || compareRecords(record, primary.durableRecord) < 0) this.checkRecord()
    }
    context.wake.signal()
    host.standbyRole.onPeersChanged()
    this.look()
  }

  /** The watch shows less than what was swapped: late, or the store went backwards. A read tells. */
  private checkRecord(): void {
    if (this.checkingRecord) return
    this.checkingRecord = true
    this.tryRead()
      .then((state) => {
        const { primary } = this.context
        if (state === undefined || primary === undefined || this.closed) return
        const verdict = this.judgeState(state)
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
    this.coolUntilMs = context.clock.nowMs() + 2 * context.timings.failoverMs
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
    if (this.attempting || context.primary !== undefined || context.data === undefined) return
    if (record === undefined || record.historyId !== context.historyId || context.failure !== undefined) return
    if (context.store.superblock?.provisional === true || !context.cluster.connected) return
    if (compareEpochs(record.epoch, higherEpoch(context.promised, context.record!.epoch)) < 0) return
    const decision = this.decide(record)
    if (decision.type === 'take' || decision.type === 'lead') this.host.interrupt()
  }
}
