import type { Family, Operation, Origin } from '../core/entry.js'
import type { FailureCode } from '../core/failure.js'
import { InSyncState, type MemberProgress } from '../core/in-sync.js'
import { limits } from '../core/limits.js'
import { type Epoch, formatEpoch, type Position } from '../core/position.js'
import { type Member, type ShardRecord, sameMember } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Engine } from '../ports/engine.js'
import type { Journal } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Tracer } from '../ports/tracer.js'
import type { Applier } from './applier.js'
import { FamilyMaker } from './family-maker.js'
import type { ShardEvent, WaitOptions, WriteOptions } from './handle.js'
import { LeaseKeeper, type LeaseTerms } from './lease-keeper.js'
import { RecordChanges, type SaveRecord } from './record-changes.js'
import { Waiters } from './waiters.js'
import { type LeftWrite, WriteQueue } from './write-queue.js'

/** What the primary needs to know of a session in which a standby follows it. */
export interface FollowerLink {
  readonly member: Member
  readonly epoch: Epoch
  /** It has asked to leave the set: this session never joins it again. */
  readonly isLeaving: boolean
  /** More of the journal is there to be sent. */
  pump(): void
  tellCommitted(): void
  tellRecord(record: ShardRecord): void
  /** Asks for a promise, if the histories were matched. */
  askPromise(id: number): void
  end(error: UnderstudyError): void
}

export type InSyncChange = Omit<Extract<ShardEvent, { readonly type: 'in-sync' }>, 'type'>

export interface PrimaryParts {
  readonly journal: Journal
  readonly engine: Engine
  readonly applier: Applier
  readonly clock: Clock
  readonly logger: Logger
  readonly self: Member
  readonly origin: Origin
  readonly record: ShardRecord
  readonly recordHeldBy: 'members' | 'coordinator'
  readonly committed: number
  /** Absent where nobody takes over by itself: then there is no read lease either. */
  readonly lease?: LeaseTerms | undefined
  readonly nextRequest: () => number
  readonly saveRecord: SaveRecord
  /** The coordinator's record is somebody else's. */
  readonly onDeposed: (reason: string) => void
  readonly nonce: () => string
  readonly onRecord: (record: ShardRecord) => void
  /** Another set is in force. */
  readonly onInSync: (change: InSyncChange) => void
  /** The epoch-start block is committed and applied: clients may come. */
  readonly onReady: (role: PrimaryRole) => void
  /** True if somebody else answers this write of the role, which has ended. */
  readonly takeOver: (write: LeftWrite) => boolean
  readonly onEnd: (role: PrimaryRole) => void
  /** Told whenever it advances; what is durable here of it may be applied. */
  readonly onCommitted: (sequence: number) => void
  readonly onFailed: (error: unknown) => void
  readonly observe: { commitSeconds(seconds: number): void; blockEntries(entries: number): void }
  readonly tracer?: Tracer | undefined
}

/** Everything that a node does as primary in one epoch. */
export class PrimaryRole {
  readonly inSync: InSyncState
  readonly epoch: Epoch
  readonly queue: WriteQueue
  /** Undefined without an automatic coordinator. */
  readonly lease: LeaseKeeper | undefined
  private readonly parts: PrimaryParts
  private readonly waiters: Waiters
  private readonly families: FamilyMaker
  /** By node: the newest connection of a node is the one that counts (S2). */
  private readonly followers = new Map<string, FollowerLink>()
  private readonly left = new WeakSet<FollowerLink>()
  private readonly changes: RecordChanges
  private committedTold = 0
  private ready = false
  private ended = false
  private setTold: readonly string[]
  private changeReason = ''
  private readonly ending = new AbortController()
  private pausedForHandOver = false

  constructor(parts: PrimaryParts) {
    this.parts = parts
    this.epoch = parts.record.epoch
    this.waiters = new Waiters(parts.clock)
    this.inSync = new InSyncState({
      record: parts.record,
      recordHeldBy: parts.recordHeldBy,
      self: parts.self,
      epochStart: parts.journal.appended.sequence + 1,
      durable: parts.journal.durable.sequence,
      applied: parts.applier.applied.sequence,
      committed: parts.committed,
    })
    this.inSync.onOwnRecordDurable(parts.record.version)
    this.changes = new RecordChanges({
      record: parts.record,
      recordHeldBy: parts.recordHeldBy,
      inSync: this.inSync,
      logger: parts.logger,
      nonce: parts.nonce,
      saveRecord: parts.saveRecord,
      ending: this.ending.signal,
      onSaved: (record, reason) => this.onRecordSaved(record, reason),
      onDeposed: parts.onDeposed,
      onFailed: parts.onFailed,
    })
    this.committedTold = parts.committed
    this.setTold = parts.record.inSync.map((member) => member.node)
    this.lease =
      parts.lease === undefined
        ? undefined
        : new LeaseKeeper({
            terms: parts.lease,
            clock: parts.clock,
            self: parts.self,
            members: () => this.inSync.waitedFor,
            followers: () => this.followers.values(),
            onHeld: () => this.queue.onProgress(),
          })
    this.queue = new WriteQueue({
      journal: parts.journal,
      inSync: this.inSync,
      clock: parts.clock,
      onBlock: () => {
        this.inSync.onBlock(parts.journal.appended)
        this.pumpAll()
      },
      observe: parts.observe,
      tracer: parts.tracer,
      onFailed: parts.onFailed,
      takeOver: parts.takeOver,
      applied: () => parts.applier.applied.sequence,
      mayAnswer: this.answerGate(),
    })
    this.families = new FamilyMaker(parts.engine, this.queue, this.epoch.number)
  }

  /** At `local` a write rests on this disk alone: it is answered only while nobody else can be primary (L3). */
  private answerGate(): (() => boolean) | undefined {
    const { lease } = this
    if (lease === undefined || this.inSync.record.settings.durability !== 'local') return undefined
    return () => lease.isHeld
  }

  /** The tail that was there is kept and commits together with the epoch-start block (C4). */
  begin(): void {
    this.queue.appendEpochStart(this.parts.origin, this.parts.nextRequest())
    this.lease?.start()
  }

  /**
   * Committed, as the others are told: what is applied here too. A write that was made elsewhere is answered there as
   * soon as it is applied there, and a read that begins here afterwards must see it (I7).
   */
  get announced(): number {
    return Math.min(this.inSync.committed, this.parts.applier.applied.sequence)
  }

  /** The newest record that is durable here: what others may be told. */
  get durableRecord(): ShardRecord {
    return this.changes.durable
  }

  get applied(): Position {
    return this.parts.applier.applied
  }

  get isReady(): boolean {
    return this.ready && !this.ended
  }

  write(operations: readonly Operation[], origin: Origin, request: number, options: WriteOptions): Promise<Position> {
    const unknown = this.families.unknownIn(operations)
    if (unknown !== undefined) return Promise.reject(unknown)
    return this.queue.submit(operations, origin, request, options)
  }

  createFamily(name: string, origin: Origin, request: number, options: WriteOptions): Promise<Family> {
    return this.families.create(name, origin, request, options)
  }

  dropFamily(id: number, origin: Origin, request: number, options: WriteOptions): Promise<void> {
    return this.families.drop(id, origin, request, options)
  }

  // Followers

  addFollower(follower: FollowerLink): void {
    const before = this.followers.get(follower.member.node)
    this.followers.set(follower.member.node, follower)
    if (before !== undefined) {
      before.end(
        new UnderstudyError('STALE_INCARNATION', `${follower.member.node} connected anew; this connection is over`),
      )
      this.forgetSession(before.member)
    }
  }

  /** The first acknowledgement of a session, after the histories were matched. */
  onSession(follower: FollowerLink, progress: MemberProgress): void {
    if (this.followers.get(follower.member.node) !== follower || this.ended) return
    this.inSync.onSession(follower.member, progress)
    this.lease?.ask(follower)
    this.changed()
  }

  onAck(follower: FollowerLink, epoch: Epoch, progress: MemberProgress): 'counted' | 'stale' {
    if (this.followers.get(follower.member.node) !== follower || this.ended) return 'stale'
    const verdict = this.inSync.onAck(follower.member, epoch, progress)
    this.changed()
    return verdict
  }

  /** Promises bind whoever gave them, but only its newest session speaks for a node. */
  onPromise(follower: FollowerLink, id: number): void {
    if (this.followers.get(follower.member.node) !== follower || this.ended) return
    this.lease?.onPromise(follower.member, id)
  }

  removeFollower(follower: FollowerLink): void {
    if (this.followers.get(follower.member.node) !== follower) return
    this.followers.delete(follower.member.node)
    this.forgetSession(follower.member)
  }

  hasFollower(node: string): boolean {
    return this.followers.has(node)
  }

  /** By hand; or asked for by the member itself in the session `asking`, of which another one knows nothing. */
  async removeFromInSync(node: string, options: WaitOptions, asking?: FollowerLink): Promise<ShardRecord> {
    if (this.parts.recordHeldBy === 'coordinator') {
      const { clock } = this.parts
      const deadlineMs = clock.nowMs() + (options.timeoutMs ?? limits.writeTimeoutMs)
      const what = `removing ${node} from the in-sync set: another change is under way`
      // A hand-over carries the set as it is.
      const isFree = () => !this.inSync.changing && !this.pausedForHandOver
      // Whoever waited for the same and goes on first makes it untrue again.
      while (!isFree()) {
        const timeoutMs = Math.max(0, deadlineMs - clock.nowMs())
        await this.waiters.until(isFree, { ...options, timeoutMs, what })
      }
    }
    const follower = this.followers.get(node)
    if (asking !== undefined && follower !== undefined && follower !== asking) {
      throw new UnderstudyError('STALE_INCARNATION', `${node} has connected anew: it does not leave the in-sync set`)
    }
    const record = this.inSync.leaveOf(node)
    if (record === undefined) {
      const { inSync, settings } = this.inSync.record
      const set = inSync.map((member) => member.node).join(', ')
      throw new UnderstudyError(
        'BAD_REQUEST',
        `${node} cannot leave the in-sync set (${set}): it is not a standby in it, or fewer than inSyncMin ${settings.inSyncMin} would be left`,
      )
    }
    // Who left by hand stays out for the rest of its session; connecting anew, it may join again.
    if (follower !== undefined) this.left.add(follower)
    this.changes.propose(record, 'removed by hand, or stopped')
    await this.waiters.until(() => this.inSync.record.version > record.version || !this.inSync.changing, {
      timeoutMs: options.timeoutMs ?? limits.writeTimeoutMs,
      signal: options.signal,
      what: `removing ${node} from the in-sync set`,
      error: { outcome: 'unknown', hint: 'the other members must store the change: see which of them answer' },
    })
    return this.inSync.record
  }

  /** A member that was behind or away for too long leaves, if enough others are there. */
  dropLaggard(node: string): boolean {
    if (this.ended || this.pausedForHandOver || this.inSync.changing) return false
    const record = this.inSync.leaveOf(node)
    if (record === undefined) return false
    this.parts.logger.warn(
      { member: node, version: record.version },
      'standby is behind or away: it leaves the in-sync set',
    )
    this.changes.propose(record, 'behind or away for longer than inSyncTimeoutMs')
    return true
  }

  /**
   * A member follows and promises nothing: its own takeover may still be on its way to the coordinator. A new version
   * of the record decides that it cannot happen any more.
   */
  renewRecord(): void {
    if (this.ended || this.pausedForHandOver || this.inSync.missing.length > 0) return
    const record = this.inSync.renewalOf()
    if (record !== undefined) this.changes.propose(record, 'renewed')
  }

  // Hand-over

  /** Every member that commits wait for is there, and has promised not to take over. */
  get holdsLease(): boolean {
    return this.lease === undefined ? this.inSync.missing.length === 0 : this.lease.isHeld
  }

  /** Waits for something that the acknowledgements of this epoch bring about. */
  until(
    holds: () => boolean,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined; readonly what: string },
  ): Promise<void> {
    return this.waiters.until(holds, options)
  }

  get isEnded(): boolean {
    return this.ended
  }

  /** From the pause of a switchover until the coordinator has decided it. */
  get isHandingOver(): boolean {
    return this.pausedForHandOver
  }

  /** No block is begun and the set stays as it is, until `resume`; writes gather within their bounds. */
  pause(): void {
    this.pausedForHandOver = true
    this.queue.pause()
  }

  /** Nothing is read here any more under what was promised; `resume` asks for promises anew (L5). */
  giveUpLease(): void {
    this.lease?.suspend()
  }

  resume(): void {
    this.pausedForHandOver = false
    if (this.ended) return
    this.lease?.resume()
    this.queue.resume()
    this.changed()
  }

  handOver(next: ShardRecord, signal: AbortSignal): Promise<'handed-over' | 'rolled-back' | 'deposed'> {
    return this.changes.handOver(next, signal)
  }

  // Progress

  onOwnProgress(): void {
    if (this.ended) return
    this.inSync.onOwnProgress(this.parts.journal.durable.sequence, this.parts.applier.applied.sequence)
    this.changed()
  }

  onFlushed(): void {
    if (!this.ended) this.queue.onFlushed()
  }

  /** Ends the role. Writers are answered; nothing is appended, sent or acknowledged in this epoch any more. */
  end(code: FailureCode, message: string): void {
    if (this.ended) return
    this.ended = true
    this.ending.abort()
    this.queue.end(code, message)
    this.parts.onEnd(this)
    const error = new UnderstudyError(code, message)
    this.waiters.close(error)
    this.lease?.end(error)
    for (const follower of this.followers.values()) follower.end(error)
    this.followers.clear()
  }

  /** The set in force is another one than was told last. */
  private tellSet(): void {
    const inSync = this.inSync.members.map((member) => member.node)
    const before = this.setTold
    if (inSync.length === before.length && inSync.every((node) => before.includes(node))) return
    this.setTold = inSync
    this.parts.onInSync({
      added: inSync.filter((node) => !before.includes(node)),
      removed: before.filter((node) => !inSync.includes(node)),
      inSync,
      reason: this.changeReason,
    })
  }

  private changed(): void {
    this.tellSet()
    const { applier } = this.parts
    const { committed } = this.inSync
    if (this.announced > this.committedTold) {
      this.committedTold = this.announced
      for (const follower of this.followers.values()) follower.tellCommitted()
    }
    this.parts.onCommitted(committed)
    this.queue.onProgress()
    this.waiters.check()
    for (const follower of this.followers.values()) {
      if (!follower.isLeaving && !this.left.has(follower)) this.tryJoin(follower.member)
    }
    if (!this.ready && applier.applied.sequence >= this.inSync.epochStart) {
      this.ready = true
      this.parts.onReady(this)
    }
  }

  private tryJoin(member: Member): void {
    const record = this.inSync.joinOf(member)
    if (record === undefined || this.pausedForHandOver) return
    // Its promise comes before the compare-and-swap that makes it one whose promise the lease needs (L1).
    if (this.lease?.hasPromise(member) === false) return
    this.parts.logger.info({ member: member.node, version: record.version }, 'standby joins the in-sync set')
    this.changes.propose(record, 'caught up')
  }

  private onRecordSaved(record: ShardRecord, reason: string): void {
    this.changeReason = reason
    for (const follower of this.followers.values()) follower.tellRecord(record)
    this.parts.onRecord(record)
    this.changed()
  }

  private forgetSession(member: Member): void {
    this.inSync.onSessionEnd(member)
    if (this.ended) return
    const takeBack = this.inSync.takeBackOf()
    if (takeBack !== undefined) {
      this.parts.logger.warn({ member: member.node, version: takeBack.version }, 'standby left before it had joined')
      this.changes.propose(takeBack, 'left before it had joined')
    }
  }

  private pumpAll(): void {
    for (const follower of this.followers.values()) follower.pump()
  }

  /** For people: why writes do not commit now; undefined if nothing is in the way. */
  get obstacle(): string | undefined {
    if (!this.inSync.largeEnough) {
      const { inSync, settings } = this.inSync.record
      return `the in-sync set has ${inSync.length} of at least ${settings.inSyncMin} members: writes wait until a standby has caught up`
    }
    if (this.inSync.record.settings.durability === 'local') return undefined
    const missing = this.inSync.missing.filter((member) => !sameMember(member, this.parts.self))
    if (missing.length === 0) return undefined
    return `writes in epoch ${formatEpoch(this.epoch)} wait for ${missing.map((member) => member.node).join(', ')}, which is not connected`
  }
}
