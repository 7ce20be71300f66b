import { limits } from '../core/limits.js'
import { formatEpoch, nextEpoch, sameEpoch } from '../core/position.js'
import { hasMember, type Member, type ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { SwitchoverOptions, SwitchoverResult } from './handle.js'
import type { PrimaryRole } from './primary-role.js'
import type { ShardContext } from './shard-context.js'

/**
 * A planned, lossless change of primary, carried out by the old one (L5): no block is begun, the target catches up, the
 * lease is given up, and this node's own swap names the target. Before the swap a time-out rolls everything back; when
 * its outcome is unknown, another swap of this node decides.
 */
export class HandOver {
  private readonly context: ShardContext
  private readonly role: PrimaryRole
  private readonly deadlineMs: number
  private readonly options: SwitchoverOptions

  constructor(context: ShardContext, role: PrimaryRole, options: SwitchoverOptions) {
    this.context = context
    this.role = role
    this.options = options
    this.deadlineMs = context.clock.nowMs() + (options.timeoutMs ?? limits.switchoverTimeoutMs)
  }

  /** `onHandedOver` ends the role; from then on this node follows `to`, if it goes on at all. */
  async run(onHandedOver: (to: Member) => void): Promise<SwitchoverResult> {
    const { context, role } = this
    const target = this.target()
    // The long way is gone while writes still flow: only the last blocks are left for the pause.
    const end = context.data!.journal.appended.sequence
    await this.until(() => this.progressOf(target).applied >= end, `${target.node} is behind`)
    await this.until(() => role.inSync.changing === false, 'the in-sync set is changing')
    const pausedMs = context.clock.nowMs()
    role.pause()
    const next = await this.atRest(target)
    role.giveUpLease()
    const result = await this.swap(next)
    if (result === 'rolled-back') {
      role.resume()
      throw refused('the coordinator did not answer in time: the switchover was rolled back')
    }
    if (result === 'deposed') {
      throw new UnderstudyError('SWITCHOVER_REFUSED', 'another node became primary meanwhile', {
        outcome: 'unknown',
        hint: 'see `understudy status`',
      })
    }
    onHandedOver(target)
    await this.begun(next)
    return { epoch: next.epoch, primary: target.node, pauseMs: Math.round(context.clock.nowMs() - pausedMs) }
  }

  /** Everything appended is committed, and the target holds and has applied it; else writes go on as before. */
  private async atRest(target: Member): Promise<ShardRecord> {
    const { context, role } = this
    const journal = context.data!.journal
    try {
      const isAtRest = () => {
        const end = journal.appended.sequence
        const progress = this.progressOf(target)
        const isCaughtUp = role.inSync.committed >= end && progress.durable >= end && progress.applied >= end
        return isCaughtUp && !role.inSync.changing
      }
      const isMember = () => hasMember(role.inSync.record.inSync, target)
      await this.until(() => !isMember() || isAtRest(), `${target.node} has not caught up`)
      // It follows on when it has left, so that it catches up all the same (L5, C6).
      if (!isMember()) throw refused(`${target.node} has left the in-sync set`)
      const { record } = role.inSync
      const nonce = context.random.hex(16)
      return {
        ...record,
        epoch: nextEpoch(context.promised, target.node),
        primary: target,
        version: record.version + 1,
        nonce,
        floor: role.inSync.floorNow,
        handedOver: true,
      }
    } catch (error) {
      role.resume()
      throw error
    }
  }

  private async swap(next: ShardRecord): Promise<'handed-over' | 'rolled-back' | 'deposed'> {
    const late = new AbortController()
    const leftMs = Math.max(this.context.timings.failoverMs, this.deadlineMs - this.context.clock.nowMs())
    const timer = this.context.clock.setTimer(leftMs, () => late.abort())
    try {
      const result = await this.role.handOver(next, late.signal)
      // The watch, or the new primary itself, may tell of the swap before its own reply does, and ends the role.
      const { promised, cluster } = this.context
      const isDone = sameEpoch(promised, next.epoch) || sameEpoch(cluster.record?.epoch ?? promised, next.epoch)
      return result === 'deposed' && isDone ? 'handed-over' : result
    } finally {
      timer.cancel()
    }
  }

  /** The switch is done; this only waits to be able to say when. */
  private async begun(next: ShardRecord): Promise<void> {
    const { context } = this
    const isBegun = () => {
      const start = context.data?.journal.epochs.at(-1)
      return (
        start !== undefined &&
        start.epoch.number >= next.epoch.number &&
        (context.data?.committed ?? 0) >= start.firstSequence
      )
    }
    await context.waiters.until(isBegun, {
      timeoutMs: Math.max(context.timings.failoverMs, this.deadlineMs - context.clock.nowMs()),
      signal: this.options.signal,
      what: `${next.primary.node} was handed epoch ${formatEpoch(next.epoch)}, but is not known to lead yet`,
      error: { outcome: 'done', hint: 'look at `understudy status`' },
    })
  }

  private target(): Member {
    const { context, role } = this
    const { to } = this.options
    const standbys = role.inSync.members.filter((member) => member.node !== context.config.node)
    const set = standbys.map((member) => member.node).join(', ')
    if (to === context.config.node) throw refused(`${to} is the primary already`)
    if (!context.cluster.connected) throw refused('the coordinator is not reachable: nobody can be made primary now')
    if (!role.isReady) throw refused(`${context.config.node} has only begun to lead`)
    const able = standbys.filter((member) => role.inSync.progressOf(member) !== undefined)
    if (to !== undefined) {
      const named = standbys.find((member) => member.node === to)
      if (named === undefined) throw refused(`${to} is not in the in-sync set${set === '' ? '' : ` (${set})`}`)
      if (!hasMember(able, named)) throw refused(`${to} is not connected`)
      return named
    }
    const furthest = [...able].sort((a, b) => this.progressOf(b).durable - this.progressOf(a).durable)[0]
    if (furthest === undefined) throw refused(set === '' ? 'no standby is in the in-sync set' : `${set}: not connected`)
    return furthest
  }

  private progressOf(target: Member): { readonly durable: number; readonly applied: number } {
    return this.role.inSync.progressOf(target) ?? { durable: 0, applied: 0 }
  }

  private async until(holds: () => boolean, why: string): Promise<void> {
    const { context, role } = this
    const leftMs = this.deadlineMs - context.clock.nowMs()
    try {
      await role.until(holds, { timeoutMs: Math.max(1, leftMs), signal: this.options.signal, what: why })
    } catch (error) {
      if (error instanceof UnderstudyError && error.failure === 'TIMEOUT') throw refused(error.message)
      throw error
    }
  }
}

function refused(message: string): UnderstudyError {
  return new UnderstudyError('SWITCHOVER_REFUSED', message, {
    hint: 'nothing has changed; see `understudy status`, another target may be ready',
  })
}
