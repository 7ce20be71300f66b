import { invariant } from './invariant.js'
import { limits } from './limits.js'
import type { Epoch, Position } from './position.js'
import { hasMember, type Member, type ShardRecord, sameMember, unionMembers } from './record.js'

/** What a member has acknowledged in its present session and in this epoch. */
export interface MemberProgress {
  readonly durable: number
  readonly applied: number
  /** Newest version of the record that the member holds durably. */
  readonly recordVersion: number
}

interface Session extends MemberProgress {
  readonly member: Member
}

/**
 * The commit rule of one primary in one epoch (PacificA's configuration, Kafka's in-sync set): everything that
 * decides when a sequence is committed, and how the set changes. Pure: positions in, committed sequence out.
 *
 * A change of the set is a new version of the record. From before it is sent until it is known to be in force,
 * commits wait for the union of all sets that may be in force anywhere (C3). With a coordinator that is when its
 * compare-and-swap is known to have happened; without one, when every member of the new set holds the record durably.
 */
export class InSyncState {
  readonly epoch: Epoch
  readonly self: Member
  /** Sequence of this epoch's epoch-start entry. */
  readonly epochStart: number
  private effective: ShardRecord
  /** Versions under way, oldest first; each one replaces those before it when its own members hold it. */
  private proposed: ShardRecord[] = []
  private readonly sessions = new Map<string, Session>()
  private readonly seenInEpoch = new Set<string>()
  private ownDurable: number
  private ownApplied: number
  private committedSequence: number
  private floor: Position
  private readonly recordHeldBy: 'members' | 'coordinator'
  /** Ends of blocks of this epoch that are not committed, oldest first. */
  private readonly blockEnds: Position[] = []

  constructor(start: {
    readonly record: ShardRecord
    /** Who decides which record is in force. */
    readonly recordHeldBy: 'members' | 'coordinator'
    readonly self: Member
    readonly epochStart: number
    readonly durable: number
    readonly applied: number
    readonly committed: number
  }) {
    invariant(sameMember(start.record.primary, start.self), 'only the primary of the record decides commits')
    this.epoch = start.record.epoch
    this.self = start.self
    this.epochStart = start.epochStart
    this.effective = start.record
    this.ownDurable = start.durable
    this.ownApplied = start.applied
    this.committedSequence = start.committed
    this.floor = start.record.floor
    this.recordHeldBy = start.recordHeldBy
  }

  /** The newest version of the record, under way or in force: what is told to others. */
  get record(): ShardRecord {
    return this.proposed.at(-1) ?? this.effective
  }

  /** Members of the set in force. */
  get members(): readonly Member[] {
    return this.effective.inSync
  }

  /** Newest block end that every member holds and that is committed: what a record is written with (C5). */
  get floorNow(): Position {
    return this.floor
  }

  get changing(): boolean {
    return this.proposed.length > 0
  }

  get committed(): number {
    return this.committedSequence
  }

  /** What a member has acknowledged in its present session; undefined without one. */
  progressOf(member: Member): MemberProgress | undefined {
    return this.sessionOf(member)
  }

  /** Everyone whose durable position a commit waits for now. */
  get waitedFor(): readonly Member[] {
    let union: readonly Member[] = this.effective.inSync
    for (const record of this.proposed) union = unionMembers(union, record.inSync)
    return union
  }

  /** Members that a commit waits for and that have no session now; empty when writes can proceed. */
  get missing(): readonly Member[] {
    return this.waitedFor.filter((member) => !this.isPresent(member))
  }

  /** True if the set in force, and every one under way, is large enough to commit at all. */
  get largeEnough(): boolean {
    const { durability, inSyncMin } = this.effective.settings
    if (durability === 'local') return true
    return [this.effective, ...this.proposed].every((record) => record.inSync.length >= inSyncMin)
  }

  /** A block of this epoch was appended: one of these ends is the next committed position. */
  onBlock(end: Position): void {
    this.blockEnds.push(end)
    // Behind a member that is away the newest end stands for those before it: a floor may be lower than what is held.
    if (this.blockEnds.length > limits.blockEndsMax) this.blockEnds.splice(-2, 1)
  }

  onOwnProgress(durable: number, applied: number): void {
    this.ownDurable = Math.max(this.ownDurable, durable)
    this.ownApplied = Math.max(this.ownApplied, applied)
    this.advance()
  }

  /** A member whose history was matched in this session begins to acknowledge; what an earlier session said is gone. */
  onSession(member: Member, progress: MemberProgress): void {
    this.seenInEpoch.add(member.node + member.incarnation)
    this.sessions.set(member.node, { member, ...progress })
    this.settle()
  }

  /** Progress within the session; an acknowledgement of another epoch or incarnation is refused (C1). */
  onAck(member: Member, epoch: Epoch, progress: MemberProgress): 'counted' | 'stale' {
    const session = this.sessions.get(member.node)
    if (session === undefined || !sameMember(session.member, member)) return 'stale'
    if (epoch.number !== this.epoch.number || epoch.node !== this.epoch.node) return 'stale'
    this.sessions.set(member.node, { member, ...progress })
    this.settle()
    return 'counted'
  }

  /** Acknowledgements are forgotten with their session. */
  onSessionEnd(member: Member): void {
    const session = this.sessions.get(member.node)
    if (session !== undefined && sameMember(session.member, member)) this.sessions.delete(member.node)
  }

  /**
   * The record that adds `member`, or undefined while it may not join: it must be a voter whose chain-matched
   * durable position reaches this epoch's start and everything committed (C2). Members kept in the set only to keep
   * its size, unseen in this epoch, leave in the same step (C6). One change at a time, except where the one under way
   * waits for a member that is gone: a set that was taken back to may hold one that never returns.
   */
  joinOf(member: Member): ShardRecord | undefined {
    const base = this.record
    if (hasMember(base.inSync, member)) return undefined
    if (this.recordHeldBy === 'coordinator') {
      // One compare-and-swap in flight (C3).
      if (this.changing) return undefined
    } else {
      if (!base.voters.includes(member.node)) return undefined
      if (this.changing && base.inSync.every((one) => this.isPresent(one))) return undefined
    }
    const session = this.sessionOf(member)
    if (session === undefined || session.durable < this.epochStart || session.durable < this.committedSequence) {
      return undefined
    }
    const others = base.inSync.filter((one) => one.node !== member.node)
    const grown = [...others, member]
    const kept = [...grown]
    for (const one of grown) {
      if (kept.length <= base.settings.inSyncMin) break
      if (
        !sameMember(one, this.self) &&
        !sameMember(one, member) &&
        !this.seenInEpoch.has(one.node + one.incarnation)
      ) {
        kept.splice(kept.indexOf(one), 1)
      }
    }
    return this.next(kept)
  }

  /** The record without a member; undefined if it is not in the set or the set would fall below its minimum. */
  leaveOf(node: string): ShardRecord | undefined {
    const base = this.record
    const rest = base.inSync.filter((one) => one.node !== node)
    if (rest.length === base.inSync.length || node === this.self.node) return undefined
    if (rest.length < base.settings.inSyncMin) return undefined
    return this.next(rest)
  }

  /** The same set once more: a swap of this revision that others may have under way can no longer happen. */
  renewalOf(): ShardRecord | undefined {
    return this.changing ? undefined : this.next(this.effective.inSync)
  }

  /** A member that was about to join and is gone: the record that takes the change back. */
  takeBackOf(): ShardRecord | undefined {
    const newest = this.proposed.at(-1)
    // What was sent to a coordinator cannot be taken back before its outcome is known.
    if (newest === undefined || this.recordHeldBy === 'coordinator') return undefined
    const lost = newest.inSync.filter((one) => !hasMember(this.effective.inSync, one) && !this.isPresent(one))
    if (lost.length === 0) return undefined
    return this.next(this.effective.inSync)
  }

  /** From now on commits wait for the members of `record` too; it is persisted and sent only after this. */
  propose(record: ShardRecord): void {
    invariant(record.version === this.record.version + 1, 'versions of the record go up by one')
    this.proposed.push(record)
  }

  /** The compare-and-swap of `record` is known to have happened: no other set can be in force any more. */
  onSwapped(record: ShardRecord): void {
    invariant(this.recordHeldBy === 'coordinator', 'a swap needs a coordinator')
    this.effective = record
    this.proposed = []
    this.advance()
  }

  /** This node holds `record` durably itself; without this a proposal never comes into force. */
  onOwnRecordDurable(version: number): void {
    this.ownRecordVersion = Math.max(this.ownRecordVersion, version)
    this.settle()
  }
  private ownRecordVersion = 0

  /** The lowest applied sequence of the set, for writers who wait for it. */
  get appliedEverywhere(): number {
    let lowest = this.ownApplied
    for (const member of this.waitedFor) {
      if (!sameMember(member, this.self)) lowest = Math.min(lowest, this.sessionOf(member)?.applied ?? 0)
    }
    return lowest
  }

  /** The lowest durable sequence of the set if it is large enough, whatever the shard's durability is. */
  get durableEverywhere(): number {
    return this.waitedFor.length < this.effective.settings.inSyncMin ? 0 : this.lowestDurable
  }

  private get lowestDurable(): number {
    let lowest = this.ownDurable
    for (const member of this.waitedFor) {
      if (!sameMember(member, this.self)) lowest = Math.min(lowest, this.sessionOf(member)?.durable ?? 0)
    }
    return lowest
  }

  private isPresent(member: Member): boolean {
    return sameMember(member, this.self) || this.sessionOf(member) !== undefined
  }

  /** What a writer may rest on who asked for a second node, whatever the shard's durability: never the own disk alone (F41). */
  get durableOnStandby(): number {
    return this.waitedFor.length < 2 ? 0 : this.durableEverywhere
  }

  private sessionOf(member: Member): Session | undefined {
    const session = this.sessions.get(member.node)
    return session !== undefined && sameMember(session.member, member) ? session : undefined
  }

  private next(inSync: readonly Member[]): ShardRecord {
    return { ...this.record, inSync, version: this.record.version + 1, floor: this.floor }
  }

  private settle(): void {
    if (this.recordHeldBy === 'members') this.settleHeld()
    this.advance()
  }

  /** Brings the newest proposal into force that all of its members hold durably. */
  private settleHeld(): void {
    for (let index = this.proposed.length - 1; index >= 0; index--) {
      const record = this.proposed[index]!
      const held = record.inSync.every((member) =>
        sameMember(member, this.self)
          ? this.ownRecordVersion >= record.version
          : (this.sessionOf(member)?.recordVersion ?? 0) >= record.version,
      )
      if (!held) continue
      this.effective = record
      this.proposed = this.proposed.slice(index + 1)
      break
    }
  }

  private advance(): void {
    const { durability } = this.effective.settings
    let reached = this.ownDurable
    if (durability === 'standby') {
      if (!this.largeEnough) return
      reached = Math.min(reached, this.durableEverywhere)
    }
    // Entries of earlier epochs are committed together with this epoch's first block, never before (C4).
    if (reached < this.epochStart) return
    this.committedSequence = Math.max(this.committedSequence, reached)
    // At `local` what is committed may be nowhere else, and must not keep a member that lacks it from taking over (C6).
    const held =
      this.recordHeldBy === 'members' ? this.committedSequence : Math.min(this.committedSequence, this.lowestDurable)
    while (this.blockEnds[0] !== undefined && this.blockEnds[0].sequence <= held) this.floor = this.blockEnds.shift()!
  }
}
