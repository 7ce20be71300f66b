import { chainZero } from '../codec/digest.js'
import type { Message } from '../codec/messages.js'
import type { Origin } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { LeasePromise } from '../core/lease.js'
import { type LifecycleEvent, type LifecycleState, lifecycle, type Role, roleOf } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import { compareEpochs, type Epoch, epochZero, formatEpoch, type Position, sameEpoch } from '../core/position.js'
import type { PeerState } from '../core/promotion.js'
import { type Member, newerRecord, type ShardRecord, type ShardSettings, sameMember } from '../core/record.js'
import { leadingStates } from '../core/takeover.js'
import { type Timings, timingsOf } from '../core/timings.js'
import type { UnderstudyError } from '../errors.js'
import type { LinkPace } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { Coordinator } from '../ports/coordinator.js'
import type { EngineFactory } from '../ports/engine.js'
import type { JournalFactory } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import type { Tracer } from '../ports/tracer.js'
import type { Transport } from '../ports/transport.js'
import type { Checkpoints } from './checkpoints.js'
import { ClusterView } from './cluster-view.js'
import { DivergentFiles } from './divergent-files.js'
import type { Forwarder } from './forwarder.js'
import type { FailoverRecord, ShardEvent } from './handle.js'
import { InSyncNotes } from './in-sync-notes.js'
import type { LeaseTerms } from './lease-keeper.js'
import type { Peers } from './peers.js'
import type { PrimaryRole } from './primary-role.js'
import type { ShardData } from './shard-data.js'
import { ShardObserver } from './shard-observer.js'
import type { ShardStore } from './shard-store.js'
import type { Slots } from './slots.js'
import type { StandbySession } from './standby-session.js'
import { TransitionLog } from './transition-log.js'
import { Waiters } from './waiters.js'
import { Wake } from './wake.js'

export interface ShardConfig {
  readonly name: string
  readonly cluster: string
  readonly node: string
  readonly boot: string
  /** Where others reach this node, known once its port is bound; empty if nobody does. */
  readonly advertise: () => string
  readonly settings: ShardSettings
  readonly checkpointBytes: number
  readonly checkpointIntervalMs: number
  readonly slotRetainBytes: number
  readonly writeTimeoutMs: number
  readonly bootstrapMaxBytesPerSecond: number | undefined
  /** Over all bootstraps that are served here. */
  readonly bootstrapSourceMaxBytesPerSecond?: number | undefined
}

export interface ShardParts {
  readonly config: ShardConfig
  readonly store: ShardStore
  readonly journals: JournalFactory
  readonly engines: EngineFactory
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Absent: nothing is traced. */
  readonly tracer?: Tracer
  readonly coordinator: Coordinator
  readonly transport: Transport
}

/** The state of one shard on one node, as all parts of the runtime see it. It decides nothing. */
export class ShardContext {
  readonly parts: ShardParts
  readonly config: ShardConfig
  readonly store: ShardStore
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** What the coordinator has said. */
  readonly cluster: ClusterView
  readonly timings: Timings
  /** Until when this node must not take over; of the process, whatever becomes of its connections (L1). */
  readonly leasePromise: LeasePromise
  /** False while this node is about to take over, or may have. */
  mayPromise: () => boolean = () => true
  readonly observer: ShardObserver
  readonly waiters: Waiters
  /** Something changed that the shard's loop should look at. */
  readonly wake: Wake
  readonly origin: Origin
  readonly divergent: DivergentFiles
  data: ShardData | undefined
  slots: Slots | undefined
  /** With the data, where the engine has files to hand out. */
  checkpoints: Checkpoints | undefined
  primary: PrimaryRole | undefined
  standby: StandbySession | undefined
  peers!: Peers
  forwarder!: Forwarder
  /** What ended the shard's life before its process. */
  failure: UnderstudyError | undefined
  stopping = false
  /** What the primary had said when its last session ended here. */
  lastHeard: { readonly announced: number; readonly freshAtMs: number | undefined } = {
    announced: 0,
    freshAtMs: undefined,
  }
  /** Newest last. */
  readonly failovers: FailoverRecord[] = []
  readonly inSyncNotes = new InSyncNotes()
  private readonly transitions: TransitionLog
  private stateNow: LifecycleState = 'stopped'
  private reasonNow = 'not started'
  private sinceMs: number
  private requests = 0
  private readonly listeners = new Set<(event: ShardEvent) => void>()

  constructor(parts: ShardParts) {
    this.parts = parts
    this.config = parts.config
    this.store = parts.store
    this.clock = parts.clock
    this.observer = new ShardObserver(parts.clock)
    this.cluster = new ClusterView(parts.coordinator, parts.config.name, parts.config.node, () => parts.clock.wallMs())
    this.timings = timingsOf(parts.config.settings)
    this.leasePromise = new LeasePromise(parts.clock.nowMs(), this.timings.promiseMs)
    this.random = parts.random
    this.logger = parts.logger.child({ shard: parts.config.name })
    this.transitions = new TransitionLog(this.logger)
    this.divergent = new DivergentFiles(parts.store, parts.journals, this.logger)
    this.waiters = new Waiters(parts.clock)
    this.wake = new Wake(parts.clock)
    this.origin = { node: parts.config.node, boot: parts.config.boot }
    this.sinceMs = parts.clock.wallMs()
  }

  // Lifecycle

  get state(): LifecycleState {
    return this.stateNow
  }

  get role(): Role {
    return roleOf[this.stateNow]
  }

  get reason(): string {
    return this.reasonNow
  }

  get since(): string {
    return new Date(this.sinceMs).toISOString()
  }

  /** The only way from one state to another. */
  transition(event: LifecycleEvent, reason: string): void {
    const from = this.stateNow
    const next = lifecycle[from][event]
    invariant(next !== 'invalid', `event ${event} does not happen in state ${from}`)
    if (next === 'ignore') return
    if (next === from) {
      this.reasonNow = reason
      return
    }
    this.stateNow = next
    this.reasonNow = reason
    this.sinceMs = this.clock.wallMs()
    this.observer.transition(from, next)
    if (next === 'reconnecting') this.observer.reconnects += 1
    if (next === 'fenced') this.observer.fenced += 1
    this.transitions.state(from, next, event, reason)
    if (roleOf[from] !== roleOf[next]) {
      const { record } = this
      this.transitions.role(
        roleOf[from],
        roleOf[next],
        record === undefined ? undefined : formatEpoch(record.epoch),
        reason,
      )
    }
    this.emit({ type: 'transition', from, to: next, reason })
    this.waiters.check()
  }

  /** Says more about the present state without leaving it. */
  explain(reason: string): void {
    this.reasonNow = reason
  }

  listen(listener: (event: ShardEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  emit(event: ShardEvent): void {
    this.inSyncNotes.note(event, this.clock.wallMs())
    this.transitions.note(event)
    for (const listener of this.listeners) listener(event)
  }

  // Leases

  /** In this order: no promise leaves before it binds. Nothing is promised in an epoch that is known to be over. */
  givePromise(epoch: Epoch): boolean {
    const { record } = this.cluster
    const isOver =
      record?.historyId === this.historyId && record !== undefined && compareEpochs(record.epoch, epoch) > 0
    if (isOver || compareEpochs(epoch, this.promised) < 0 || !this.mayPromise()) return false
    this.leasePromise.give(this.clock.nowMs())
    return true
  }

  /** How follow sessions find out that the other side is gone; undefined where nothing but a person acts on it. */
  get followPace(): LinkPace | undefined {
    if (this.cluster.automatic === undefined) return undefined
    const { heartbeatMs, silenceMs } = this.timings
    return { heartbeatMs, silenceMs, bufferBytesMax: limits.pacedBufferBytesMax }
  }

  /** What a primary keeps its read lease by; undefined where promotion is by hand (C8). */
  get leaseTerms(): LeaseTerms | undefined {
    const { automatic } = this.cluster
    if (automatic === undefined) return undefined
    const { leaseMs, heartbeatMs } = this.timings
    const solitude = () => ({
      othersKnown: this.cluster.others.length > 0 || this.store.superblock?.hadCompany === true,
      registeredUntilMs: automatic.registeredUntilMs,
    })
    return { leaseMs, heartbeatMs, solitude }
  }

  // Identity

  /** Undefined while the directory is empty. */
  get self(): Member | undefined {
    const { superblock } = this.store
    return superblock === undefined ? undefined : { node: this.config.node, incarnation: superblock.incarnation }
  }

  get record(): ShardRecord | undefined {
    return this.primary?.inSync.record ?? this.store.superblock?.record
  }

  get historyId(): string | undefined {
    return this.store.superblock?.record.historyId
  }

  get promised(): Epoch {
    return this.store.superblock?.promised ?? epochZero
  }

  /** The newest record that this node or anybody who answers knows of. */
  get newestRecord(): ShardRecord | undefined {
    let newest = this.record
    const held = this.cluster.record
    if (held !== undefined && (this.historyId === undefined || held.historyId === this.historyId)) {
      newest = newerRecord(newest, held)
    }
    for (const answer of this.peers.answers) {
      if (answer.historyId === this.historyId || this.historyId === undefined)
        newest = newerRecord(newest, answer.record)
    }
    return newest
  }

  get configuredNames(): readonly string[] {
    return [this.config.node, ...this.cluster.others.map((member) => member.node)]
  }

  addressOf(node: string): string | undefined {
    if (node === this.config.node) return this.config.advertise() || undefined
    return this.cluster.addressOf(node)
  }

  nextRequest = (): number => {
    this.requests += 1
    return this.requests
  }

  emptyPosition(historyId: string): Position {
    return { epoch: epochZero, sequence: 0, chain: chainZero(historyId, this.config.name) }
  }

  /** Why this node may not lead now, whatever the record says, for people. */
  get unfit(): string | undefined {
    if (this.data === undefined) return 'it has no complete data'
    if (this.state === 'fenced') return this.reason
    return undefined
  }

  /** Another node that answers, leads, and is named by the newest record that anybody knows of. */
  get presentPrimary(): PeerState | undefined {
    const record = this.newestRecord
    return record && this.leaderOf(record)
  }

  /** It hears the primary of the newest record, and that one hears it: over the stream, or by asking (L3). */
  get hearsPrimary(): boolean {
    const record = this.newestRecord
    if (record === undefined || this.primary !== undefined) return false
    return this.standby?.hears(record.epoch) === true || this.leaderOf(record) !== undefined
  }

  /** The primary that a record names, if it answers and says that it leads in that epoch. */
  private leaderOf(record: ShardRecord): PeerState | undefined {
    const state = this.peers.answer(record.primary.node)
    const leads =
      state?.record !== undefined &&
      sameMember(state.member, record.primary) &&
      leadingStates.has(state.state) &&
      sameEpoch(state.record.epoch, record.epoch)
    return leads ? state : undefined
  }

  /** This node's answer to who it is and how far. */
  stateMessage(): Message<'state'> {
    const { data } = this
    // A change that is under way may come to nothing: only what is durable is told.
    const record = this.primary?.durableRecord ?? this.store.superblock?.record
    return {
      member: { node: this.config.node, incarnation: this.self?.incarnation ?? '0'.repeat(32) },
      state: this.stateNow,
      promised: this.promised,
      historyId: this.historyId,
      record,
      durable: data?.journal.durable,
      committed: data?.committed ?? 0,
      applied: data?.applier.applied.sequence ?? 0,
      votes: this.store.superblock?.adopted === true,
      hearsPrimary: this.hearsPrimary,
      advertise: this.config.advertise(),
      primaryAddress: (record === undefined ? undefined : this.addressOf(record.primary.node)) ?? '',
    }
  }

  ownState(): PeerState {
    return this.stateMessage()
  }

  /** True while this node speaks for an epoch that was not overtaken. */
  leads(): boolean {
    return this.primary !== undefined && compareEpochs(this.primary.epoch, this.promised) >= 0
  }
}
