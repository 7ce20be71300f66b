import { Laggards } from '../core/laggards.js'
import { hasMember } from '../core/record.js'
import { mayLead } from '../core/takeover.js'
import type { PrimaryRole } from './primary-role.js'
import type { ShardContext } from './shard-context.js'

/**
 * Looks at a primary from the side, all the time: which members of its set are behind for too long, and whether this
 * node itself is the one that cannot go on (L3). Runs on the same thread as everything else: when that hangs, nothing
 * here keeps a role alive (F37).
 */
export class PrimaryWatch {
  private readonly context: ShardContext
  private readonly resign: (reason: string) => void
  private role: PrimaryRole | undefined
  private laggards: Laggards
  private goodAtMs = 0
  private leaseAtMs = 0
  private committed = 0
  private flushedAtMs = 0
  private durable = 0
  private lastTickMs = 0
  /** Since when each other node answers without a break. */
  private readonly answeringSinceMs = new Map<string, number>()

  constructor(context: ShardContext, resign: (reason: string) => void) {
    this.context = context
    this.resign = resign
    this.laggards = this.newLaggards()
  }

  /** A new epoch of this node begins. */
  begin(): void {
    const nowMs = this.context.clock.nowMs()
    this.role = this.context.primary
    this.laggards = this.newLaggards()
    this.goodAtMs = nowMs
    this.leaseAtMs = nowMs
    this.flushedAtMs = nowMs
    this.lastTickMs = nowMs
    this.committed = 0
    this.durable = 0
    this.answeringSinceMs.clear()
  }

  tick(): void {
    const { context, role } = this
    const data = context.data
    if (role === undefined || role !== context.primary || data === undefined) return
    const nowMs = context.clock.nowMs()
    const gapMs = nowMs - this.lastTickMs
    this.lastTickMs = nowMs
    // After a standstill of this process the others get their time anew: it was not they who were away.
    if (gapMs > context.timings.silenceMs) {
      this.goodAtMs += gapMs
      this.flushedAtMs += gapMs
    }
    this.noteAnswers(nowMs)
    this.dropLaggards(role, nowMs, data.journal.appended.sequence)
    this.judgeSelf(role, nowMs)
  }

  private dropLaggards(role: PrimaryRole, nowMs: number, end: number): void {
    const { context } = this
    const members = role.inSync.members.filter((member) => member.node !== context.config.node)
    const overdue = this.laggards.tick(
      nowMs,
      end,
      members.map((member) => ({ node: member.node, durable: role.inSync.progressOf(member)?.durable })),
    )
    for (const node of overdue) {
      if (role.dropLaggard(node)) return
    }
  }

  private judgeSelf(role: PrimaryRole, nowMs: number): void {
    const { context } = this
    const { inSync } = role
    const journal = context.data!.journal
    const { giveUpMs } = context.timings
    if (journal.durable.sequence > this.durable || journal.pendingBytes === 0) {
      this.durable = journal.durable.sequence
      this.flushedAtMs = nowMs
    }
    const ahead = inSync.members.find((member) => (inSync.progressOf(member)?.durable ?? 0) > journal.durable.sequence)
    if (ahead !== undefined && nowMs - this.flushedAtMs > giveUpMs) {
      const stalledMs = Math.round(nowMs - this.flushedAtMs)
      this.resign(`the disk here has not written anything for ${stalledMs} ms, that of ${ahead.node} has`)
      return
    }
    if (role.holdsLease) this.leaseAtMs = nowMs
    if (nowMs - this.leaseAtMs > giveUpMs) {
      this.leaseAtMs = nowMs
      role.renewRecord()
    }
    const alone = inSync.waitedFor.length === 1
    // At `local` a commit shows nothing of the others: nothing is answered without the lease.
    const commits = inSync.record.settings.durability === 'standby' && inSync.committed > this.committed
    if (alone || role.holdsLease || commits) this.goodAtMs = nowMs
    this.committed = inSync.committed
    if (nowMs - this.goodAtMs <= giveUpMs || !this.anotherCould(role, nowMs)) return
    this.resign(
      `neither lease nor commits for ${Math.round(nowMs - this.goodAtMs)} ms, and another member may take over`,
    )
  }

  /**
   * A member of the set that answers but does not follow, or nobody to ask at all: then this node is cut off. One that
   * is under repair or fenced could not: giving up would only end what it is repaired from. One that has just come back
   * has its time to follow first: without the coordinator nobody could lead in this node's place.
   */
  private anotherCould(role: PrimaryRole, nowMs: number): boolean {
    const { context } = this
    const others = role.inSync.members.filter((member) => member.node !== context.config.node)
    const reachable = context.peers.answers.filter((answer) => hasMember(others, answer.member))
    if (reachable.length === 0) return !context.cluster.connected && others.length > 0
    return reachable.some(
      ({ state, member }) =>
        mayLead(state) &&
        role.inSync.progressOf(member) === undefined &&
        nowMs - (this.answeringSinceMs.get(member.node) ?? nowMs) >= context.timings.giveUpMs,
    )
  }

  private noteAnswers(nowMs: number): void {
    const answering = new Set(this.context.peers.answers.map(({ member }) => member.node))
    for (const node of this.answeringSinceMs.keys()) if (!answering.has(node)) this.answeringSinceMs.delete(node)
    for (const node of answering) if (!this.answeringSinceMs.has(node)) this.answeringSinceMs.set(node, nowMs)
  }

  private newLaggards(): Laggards {
    const { inSyncTimeoutMs, silenceMs } = this.context.timings
    return new Laggards({ timeoutMs: inSyncTimeoutMs, stallMs: silenceMs })
  }
}
