import type { FailureCode } from '../core/failure.js'
import { epochZero, formatEpoch, sameEpoch } from '../core/position.js'
import { compareRecords, type ShardRecord, sameMember } from '../core/record.js'
import { decideTakeover, type MemberState, type TakeoverDecision, type TakeoverQuestion } from '../core/takeover.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { RecordState } from '../ports/coordinator.js'
import { FailoverLog } from './failover-log.js'
import { forcedLoss } from './forced-loss.js'
import type { FailoverRecord, LossEstimate, PromoteResult } from './handle.js'
import { lead } from './promoter.js'
import type { RecordJudge } from './record-judge.js'
import type { RecordKeeper } from './record-keeper.js'
import type { ShardContext } from './shard-context.js'
import { TakeoverTrace } from './takeover-trace.js'

/** Failures of a takeover that leave this node as it was. */
const passing: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'UNAVAILABLE',
  'TIMEOUT',
  'ABORTED',
  'PROMOTION_REFUSED',
])

interface TakeoverHooks {
  readonly onDeposed: (reason: string) => void
  readonly onFailed: (error: unknown) => void
  /** A role has begun. */
  readonly onLeading: () => void
}

/**
 * What one node knows when it asks whether to take over, and how it does: the decision is the core's, the swap decides
 * between two that try at once.
 */
export class Takeover {
  private readonly context: ShardContext
  private readonly keeper: RecordKeeper
  private readonly judge: RecordJudge
  private readonly hooks: TakeoverHooks
  private readonly log: FailoverLog
  private readonly trace: TakeoverTrace
  /** Not the loop's own interruption: the watch may tell of a swap before its reply does. */
  private readonly closing = new AbortController()
  private attemptUnderWay = false
  /** When the primary was last heard; this process's start before the first time. */
  private heardAtMs: number
  private coolUntilMs = 0
  /** The epoch of the newest record, and until when its primary is expected to be heard for the first time. */
  private newEpoch = epochZero
  private graceUntilMs = 0
  private jitter: number
  /** What the record was when this node's last swap was sent, while that may still happen. */
  private swapSentAt: RecordState | undefined

  constructor(context: ShardContext, keeper: RecordKeeper, judge: RecordJudge, hooks: TakeoverHooks) {
    this.context = context
    this.keeper = keeper
    this.judge = judge
    this.hooks = hooks
    this.log = new FailoverLog(context)
    this.trace = new TakeoverTrace(context)
    this.heardAtMs = context.clock.nowMs()
    this.jitter = context.random.next()
    context.mayPromise = () => this.mayPromise()
  }

  get attempting(): boolean {
    return this.attemptUnderWay
  }

  /** Ends swaps that are under way; what becomes of them is unknown. */
  close(): void {
    this.trace.end(new UnderstudyError('CLOSED', 'the node is closing'))
    this.closing.abort()
  }

  /** Aborted at close. */
  get closed(): AbortSignal {
    return this.closing.signal
  }

  /** This node was primary: it has promised nothing to the next one, which is given its time all the same. */
  onRoleEnded(): void {
    this.trace.end(new UnderstudyError('FENCED', 'the role ended before its first block was committed'))
    this.heardAtMs = this.context.clock.nowMs()
    // Up to here it had everything itself.
    this.context.lastHeard = { announced: 0, freshAtMs: this.heardAtMs }
    this.coolFor(this.context.timings.silenceMs)
  }

  /** Lets others try first for so long. */
  coolFor(delayMs: number): void {
    this.coolUntilMs = Math.max(this.coolUntilMs, this.context.clock.nowMs() + delayMs)
  }

  /** Whether to try, from what is known now. */
  decide(record: ShardRecord): TakeoverDecision {
    return decideTakeover(this.situation(record, this.context.peers.answers))
  }

  /** The same question with what must be looked up. */
  async question(record: ShardRecord, answers: readonly MemberState[]) {
    const data = this.context.data!
    return {
      ...this.situation(record, answers),
      committedEnd: await data.committedEnd(),
      holdsFloor: await data.holds(record.floor),
    }
  }

  /** What is known without looking anything up: enough to say whether to try. */
  private situation(record: ShardRecord, answers: readonly MemberState[]): TakeoverQuestion {
    const { context } = this
    const { journal, applier } = context.data!
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
      durable: journal.durable,
      committedEnd: applier.applied,
      holdsFloor: true,
    }
  }

  /** Looks once more, at fresh answers and a fresh record, and takes over if that is still right. */
  attempt(signal: AbortSignal): Promise<void> {
    return this.guarded(async () => {
      const { context } = this
      await context.data!.journal.mark()
      const [answers, state] = await Promise.all([this.answers(), this.judge.tryRead(signal)])
      const verdict = state === undefined ? undefined : this.judge.judgeState(state)
      if (state === undefined || verdict?.type !== 'current') return this.cool()
      const decision = decideTakeover(await this.question(verdict.record, answers))
      const named = sameMember(verdict.record.primary, context.self!)
      if (decision.type === 'lead') return this.leadNamed(decision.record, state.revision)
      if (decision.type === 'take') {
        const missedMs = context.clock.nowMs() - this.heardAtMs
        context.logger.warn({ from: verdict.record.primary.node, missedMs: Math.round(missedMs) }, decision.reason)
        const mayLose = named ? undefined : this.lossOf(verdict.record)
        await this.take(decision.record, state, named ? 'start' : 'failover', missedMs, mayLose)
      } else if (decision.type !== 'follow') {
        context.explain(decision.reason)
        await context.wake.wait(context.timings.heartbeatMs)
      }
    })
  }

  /**
   * Leads in an epoch that the old primary handed to this node, as the watch tells it: nobody else is asked, writers
   * wait. If the watch is late and another node leads by now, the members of the set refuse this epoch.
   */
  acceptHandOver(state: RecordState): Promise<void> {
    return this.guarded(async () => {
      const decision = decideTakeover(await this.question(state.record!, []))
      if (decision.type === 'lead') await this.leadNamed(decision.record, state.revision)
      else this.cool()
    })
  }

  private async leadNamed(record: ShardRecord, revision: number): Promise<void> {
    const { context } = this
    context.transition('promote', `the record names this node in epoch ${formatEpoch(record.epoch)}`)
    const missedMs = context.clock.nowMs() - this.heardAtMs
    const mayLose = forcedLoss(record, undefined)
    const kind = record.handedOver ? 'switchover' : mayLose === undefined ? 'start' : 'by-hand'
    await this.lead(record, revision, kind, missedMs, mayLose)
  }

  private async guarded(work: () => Promise<void>): Promise<void> {
    const { context } = this
    this.attemptUnderWay = true
    try {
      await work()
    } catch (error) {
      const failure = toUnderstudyError(error, 'takeover')
      this.trace.end(failure)
      if (context.state === 'promoting' && context.primary === undefined) {
        context.transition('promotion-failed', failure.message)
      }
      // Everything else is of this node: its disk, or a bug.
      if (!passing.has(failure.failure)) throw error
      context.logger.warn({ error: failure.message }, 'not primary')
      this.cool()
    } finally {
      this.attemptUnderWay = false
      this.jitter = context.random.next()
    }
  }

  /** Swaps the record for one that names this node, then leads. `missedMs`: since when that was due. */
  async take(
    next: ShardRecord,
    found: RecordState,
    kind: FailoverRecord['kind'],
    missedMs: number,
    mayLose: LossEstimate | undefined,
  ): Promise<PromoteResult> {
    this.trace.begin(kind, next.epoch, missedMs)
    try {
      return await this.swapAndLead(next, found, kind, missedMs, mayLose)
    } catch (error) {
      this.trace.end(error)
      throw error
    }
  }

  private async swapAndLead(
    next: ShardRecord,
    found: RecordState,
    kind: FailoverRecord['kind'],
    missedMs: number,
    mayLose: LossEstimate | undefined,
  ): Promise<PromoteResult> {
    const { context } = this
    context.transition('promote', `taking over in epoch ${formatEpoch(next.epoch)}`)
    const deadlineMs = context.clock.nowMs() + context.timings.failoverMs
    this.swapSentAt = found
    const result = await this.keeper.swap(found.revision, next, { signal: this.closing.signal, deadlineMs })
    this.swapSentAt = undefined
    if (result.swapped) this.trace.event('the record names this node')
    else {
      const winner = result.state.record?.primary.node ?? 'nobody'
      throw new UnderstudyError('PROMOTION_REFUSED', `${winner} was faster`, { retryable: true })
    }
    return this.lead(next, result.state.revision, kind, missedMs, mayLose)
  }

  /** Whose swap may still happen is primary as soon as it does, whatever it promised meanwhile: so it does not (L1). */
  private mayPromise(): boolean {
    if (this.attemptUnderWay) return false
    const { swapSentAt } = this
    const { state } = this.context.cluster
    if (swapSentAt === undefined) return true
    // Another store knows nothing of the swap, and counts its own revisions.
    return (
      state !== undefined && (state.coordinatorId !== swapSentAt.coordinatorId || state.revision > swapSentAt.revision)
    )
  }

  async lead(
    record: ShardRecord,
    revisionAtStart: number,
    kind: FailoverRecord['kind'],
    missedMs: number,
    mayLose: LossEstimate | undefined,
  ): Promise<PromoteResult> {
    const { context } = this
    this.trace.begin(kind, record.epoch, missedMs)
    let revision = revisionAtStart
    const sinceMs = context.clock.nowMs() - missedMs
    if (context.state !== 'promoting') context.transition('promote', `leading in epoch ${formatEpoch(record.epoch)}`)
    await lead(context, record, {
      saveRecord: async (next, signal) => {
        const result = await this.keeper.swap(revision, next, { signal })
        revision = result.state.revision
        // Somebody else's later record may have been stored meanwhile.
        if (result.swapped) {
          const stored = context.store.update((now) =>
            compareRecords(next, now.record) > 0 ? { ...now, record: next } : now,
          )
          // A hand-over has happened, whatever becomes of this disk: taken back now, it would depose who leads (L5).
          if (sameMember(next.primary, context.self!)) await stored
          else await stored.then(undefined, (error) => this.hooks.onFailed(error))
        }
        return result.state.record
      },
      onDeposed: (reason) => {
        this.trace.end(new UnderstudyError('FENCED', reason))
        this.hooks.onDeposed(reason)
      },
      onFailed: (error) => {
        this.trace.end(error)
        this.hooks.onFailed(error)
      },
      onReady: () => {
        this.trace.end()
        this.log.add(record, kind, context.clock.nowMs() - sinceMs, mayLose)
      },
    })
    this.hooks.onLeading()
    return { epoch: record.epoch, position: context.data!.journal.appended, mayLose }
  }

  /** All others but the old primary are asked anew; what that one said last is known. */
  async answers(): Promise<MemberState[]> {
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
    const { announced, freshAtMs } = context.lastHeard
    const known = Math.max(0, announced - context.data!.journal.durable.sequence)
    // Counted from when this node certainly had everything: not from when the primary was found missing.
    const seconds = freshAtMs === undefined ? undefined : Math.ceil(context.clock.nowMs() - freshAtMs) / 1000
    const window = seconds === undefined ? 'an unknown time' : `the last ${seconds} s`
    return {
      entries: known > 0 ? known : undefined,
      seconds,
      reason: `durability local: writes that ${record.primary.node} acknowledged in ${window} may be missing${known > 0 ? `, ${known} entries at least` : ''}`,
    }
  }

  private cool(): void {
    const { random, timings } = this.context
    this.coolFor(timings.heartbeatMs * (1 + random.next()))
  }
}
