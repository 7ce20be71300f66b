import { isLossy, newerRecord, type ShardRecord, sameMember } from '../core/record.js'
import { decideForced, decideTakeover, type MemberState } from '../core/takeover.js'
import { errorFromFailure, UnderstudyError } from '../errors.js'
import { forcedLoss } from './forced-loss.js'
import type { PromoteResult } from './handle.js'
import type { RecordJudge } from './record-judge.js'
import type { RecordKeeper } from './record-keeper.js'
import type { ShardContext } from './shard-context.js'
import type { Takeover } from './takeover.js'

/**
 * Promotion by an operator where a coordinator keeps the record: the rules of a takeover, without waiting for the
 * primary to be missed; `force` goes further, and says what that may lose.
 */
export class PromotionByHand {
  private readonly context: ShardContext
  private readonly keeper: RecordKeeper
  private readonly judge: RecordJudge
  private readonly takeover: Takeover

  constructor(context: ShardContext, keeper: RecordKeeper, judge: RecordJudge, takeover: Takeover) {
    this.context = context
    this.keeper = keeper
    this.judge = judge
    this.takeover = takeover
  }

  async run(force: boolean): Promise<PromoteResult> {
    const { context } = this
    const data = context.data
    if (data === undefined || context.self === undefined) {
      throw new UnderstudyError('PROMOTION_REFUSED', `${context.config.node} has no data yet (${context.state})`)
    }
    const begunMs = context.clock.nowMs()
    await data.journal.mark()
    await this.waitOutPromise()
    const answers = await this.takeover.answers()
    const state = await this.keeper.read()
    const stored = context.store.superblock!.record
    const verdict = this.judge.judgeState(state)
    if (verdict.type === 'current' && !force) {
      const decision = decideTakeover({
        ...(await this.takeover.question(verdict.record, answers)),
        answers: answers.map((answer) => ({ ...answer, hearsPrimary: false, durable: undefined })),
        hearsPrimary: false,
        coolUntilMs: 0,
      })
      if (decision.type === 'lead')
        return this.takeover.lead(
          decision.record,
          state.revision,
          'by-hand',
          context.clock.nowMs() - begunMs,
          undefined,
        )
      if (decision.type !== 'take') {
        const hint = 'promote a member of the in-sync set, or repeat with force if they are lost for good'
        const reason = decision.type === 'follow' ? 'the primary is there' : decision.reason
        throw new UnderstudyError('PROMOTION_REFUSED', reason, { hint })
      }
      return this.takeover.take(decision.record, state, 'by-hand', context.clock.nowMs() - begunMs, undefined)
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
    if (isLossy(forced.record)) await this.waitOutRegistration(known, answers)
    const mayLose = forcedLoss(forced.record, forced.missingEntries)
    return this.takeover.take(forced.record, state, 'by-hand', context.clock.nowMs() - begunMs, mayLose)
  }

  /** A timer may fire a fraction early. */
  private async waitOutPromise(): Promise<void> {
    const { clock, leasePromise } = this.context
    while (!leasePromise.isOver(clock.nowMs()) && !this.takeover.closed.aborted)
      await this.sleep(Math.ceil(leasePromise.untilMs - clock.nowMs()))
  }

  /** A primary that is alone in its set may go on under its registration, without anybody's promise (L4). */
  private async waitOutRegistration(known: ShardRecord, answers: readonly MemberState[]): Promise<void> {
    const { context } = this
    const gone = answers.some((answer) => sameMember(answer.member, known.primary) && answer.state !== 'primary')
    if (known.inSync.length > 1 || gone || sameMember(known.primary, context.self!)) return
    await this.sleep(context.timings.registrationMs)
  }

  /** Less at close. */
  private sleep(delayMs: number): Promise<void> {
    const signal = this.takeover.closed
    if (delayMs <= 0 || signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel()
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = this.context.clock.setTimer(delayMs, end)
      signal.addEventListener('abort', end, { once: true })
    })
  }
}
