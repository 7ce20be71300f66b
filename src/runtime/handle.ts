/** What the library, the server and the command line see of a running node. Everything here is read or asked. */
import type { Family, Operation } from '../core/entry.js'
import type { LifecycleState, Role } from '../core/lifecycle.js'
import type { Epoch, Position } from '../core/position.js'
import type { ShardRecord, ShardSettings } from '../core/record.js'
import type { AccessStatus } from '../ports/access.js'
import type { Engine, KeyRange } from '../ports/engine.js'
import type { VoterStatus } from '../ports/voter.js'
import type { HistogramSnapshot } from './histogram.js'
import type { VerifyOptions, VerifyResult } from './verify-report.js'

export interface WaitOptions {
  /** Ends the wait with `TIMEOUT` (reads) or `ACK_TIMEOUT` (writes). Default `writeTimeoutMs` of the limits. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface WriteOptions extends WaitOptions {
  /**
   * What else to wait for beyond the commit rule of the shard. `standby`: durable on all in-sync members, at
   * least `inSyncMin` (what durability `standby` does anyway). `applied`: applied on all of them.
   */
  readonly waitFor?: 'committed' | 'standby' | 'applied'
  /** On a standby: send the write on to the primary (default) or fail with `NOT_PRIMARY`. */
  readonly forward?: boolean
}

export interface ClearRequest extends KeyRange {
  readonly family: number
  readonly reverse?: boolean
  /** Keys at most; absent: all. */
  readonly limit?: number
}

export interface ReadFreshness extends WaitOptions {
  /** Waits until this position is applied here. */
  readonly minPosition?: { readonly epoch: Epoch; readonly sequence: number }
  /** Refuses data older than this (`LAG_EXCEEDED`). On a primary with a read lease it always holds. */
  readonly maxLagMs?: number
}

/**
 * What a read is worth. `linearizable`: never older than a write acknowledged before it began, anywhere; by the
 * primary's lease. `confirmed`: the same by a round trip to the in-sync set, without trust in any clock. `local`: what
 * is here. Nothing asked for: `linearizable` on a primary, `local` on a standby.
 */
export type Consistency = 'linearizable' | 'confirmed' | 'local'

export interface ReadOptions extends ReadFreshness {
  readonly consistency?: Consistency
}

/** Taken before a value is read; the value may be handed out only once it is granted. */
export interface ReadTicket {
  /** Now. Once true for a value that was read before, that value may be handed out at any time. */
  readonly isGranted: boolean
  /** Waits for it, by default for `failoverMs`; fails `FENCED`. */
  granted(options?: WaitOptions): Promise<void>
}

/** The reading half of an engine. */
export type EngineReader = Pick<Engine, 'kind' | 'applied' | 'families' | 'get' | 'getMany' | 'scan' | 'snapshot'>

export interface ShardHandle {
  readonly name: string
  readonly role: Role
  readonly state: LifecycleState
  readonly applied: Position | undefined

  /** Resolves with the position that holds the write, when it is committed and readable here. */
  write(operations: readonly Operation[], options?: WriteOptions): Promise<Position>
  /** Resolved on the primary in bounded pieces, each atomic, not all together. */
  clear(request: ClearRequest, options?: WriteOptions): Promise<Position>
  createFamily(name: string, options?: WriteOptions): Promise<Family>
  dropFamily(name: string, options?: WriteOptions): Promise<void>
  /** The engine as it is now. Throws `NOT_READY` while a bootstrap rebuilds it, `FENCED`/`CORRUPTION` when failed. */
  reader(): EngineReader
  /** Resolves when the asked-for freshness holds. */
  fresh(freshness: ReadOptions): Promise<void>
  /**
   * Before `reader()` is asked for values. Throws `NOT_PRIMARY` if this is asked for on a standby, `NOT_READY` while it
   * becomes primary.
   */
  beginRead(consistency?: Consistency): ReadTicket
  /** Resolves as soon as `reader()` works (and, on a primary, writes are taken). */
  ready(options?: { readonly signal?: AbortSignal }): Promise<void>
  promote(options?: PromoteOptions): Promise<PromoteResult>
  /**
   * Hands the shard over to a standby without losing or failing a write; called on any node, carried out by the primary.
   * Rejects with `SWITCHOVER_REFUSED` (nothing happened, or rolled back: outcome `none`) or with outcome `unknown`.
   */
  switchover(options?: SwitchoverOptions): Promise<SwitchoverResult>
  /** Takes a member out of the in-sync set by hand; refused below `inSyncMin`. */
  removeFromInSync(node: string, options?: WaitOptions): Promise<ShardRecord>
  /**
   * Compares this node's content with that of all others, at one position, while they serve. Differences are no error:
   * the result names them. Rejects with `VERIFY_REFUSED` when there is nothing to compare.
   */
  verify(options?: VerifyOptions): Promise<VerifyResult>
  standing(): ShardStanding
  status(): ShardStatus
  /** Returns what stops it. */
  subscribe(listener: (event: ShardEvent) => void): () => void
}

export interface PromoteOptions extends WaitOptions {
  readonly force?: boolean
}

export interface PromoteResult {
  readonly epoch: Epoch
  readonly position: Position
  /** What a forced promotion may have left behind, as far as it can be known. */
  readonly mayLose: LossEstimate | undefined
}

export interface SwitchoverOptions extends WaitOptions {
  /** Who shall be primary; absent: the member of the in-sync set that is furthest. */
  readonly to?: string
}

export interface SwitchoverResult {
  readonly epoch: Epoch
  readonly primary: string
  /** From when the old primary took no more writes until the new one was ready, as the old primary saw it. */
  readonly pauseMs: number
}

/** The answer to "can we fail over now?". */
export interface FailoverStatus {
  readonly possible: boolean
  /** "b holds everything and can take over", or what is in the way. */
  readonly reason: string
  /** Who would take over first; undefined if nobody can. */
  readonly to: string | undefined
}

export interface CoordinatorStatus {
  readonly kind: 'static' | 'automatic'
  /** Static: always true. */
  readonly connected: boolean
  /** From when on it is connected, or is not; undefined for static. */
  readonly since: string | undefined
  readonly lastError: string | undefined
}

/** A change of primary that this node has seen since it started, newest last, a bounded number of them. */
export interface FailoverRecord {
  readonly at: string
  readonly epoch: Epoch
  readonly primary: string
  readonly kind: 'failover' | 'switchover' | 'by-hand' | 'start'
  /** On the new primary: from when the old one was missed until the first block of the epoch was committed. */
  readonly tookMs: number | undefined
  readonly mayLose: LossEstimate | undefined
}

export interface LossEstimate {
  /** Entries known to exist beyond this node's journal; undefined when it cannot be known. */
  readonly entries: number | undefined
  readonly seconds: number | undefined
  readonly reason: string
}

export type ShardEvent =
  | { readonly type: 'transition'; readonly from: LifecycleState; readonly to: LifecycleState; readonly reason: string }
  | { readonly type: 'record'; readonly record: ShardRecord }
  | { readonly type: 'bootstrap'; readonly progress: BootstrapStatus }
  /** How far this node is behind the primary, whenever that changed, at most a few times per second. */
  | { readonly type: 'lag'; readonly lag: LagStatus }
  | {
      readonly type: 'diverged'
      readonly cutEntries: number
      /** Where the present history parts from what was here. */
      readonly at: { readonly epoch: Epoch; readonly sequence: number }
      /** Name of the side file, in the shard's directory. */
      readonly file: string | undefined
    }
  /** The in-sync set changed, with the reason for people. */
  | {
      readonly type: 'in-sync'
      readonly added: readonly string[]
      readonly removed: readonly string[]
      readonly inSync: readonly string[]
      readonly reason: string
    }
  | { readonly type: 'failover'; readonly failover: FailoverRecord }
  | { readonly type: 'failure'; readonly error: Error }

export interface LagStatus {
  readonly entries: number
  readonly lagMs: number | undefined
}

export interface BootstrapStatus {
  readonly phase: 'waiting' | 'snapshot' | 'transferring' | 'catching-up' | 'installing' | 'done'
  /** How the content comes: as files of a checkpoint of the source's engine, or key by key. */
  readonly method: 'checkpoint' | 'range-chunks' | undefined
  readonly source: string | undefined
  /** Sequence of the first snapshot. */
  readonly position: number | undefined
  readonly bytesDone: number
  readonly bytesExpected: number | undefined
  readonly entriesDone: number
  readonly bytesPerSecond: number
  readonly secondsLeft: number | undefined
  /** Where this process went on from what an earlier one had stored: "family default, key …, 12.3 MB". */
  readonly resumedFrom: string | undefined
  /** Times it had to begin again on a wiped directory. */
  readonly restarts: number
  readonly retryInMs: number | undefined
  readonly lastError: string | undefined
}

export interface FollowerStatus {
  readonly node: string
  readonly address: string
  readonly connected: boolean
  readonly inSync: boolean
  readonly state: 'catching-up' | 'streaming' | 'disconnected'
  readonly received: number
  readonly durable: number
  readonly applied: number
  readonly lagEntries: number
  readonly lagBytes: number
  readonly lagMs: number
  readonly since: string
}

/** From a write to its acknowledgement, of writes taken here. */
export interface CommitsStatus {
  readonly perSecond: number
  /** At most 19 % above the true value, never below. */
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface SlotStatus {
  readonly name: string
  readonly sequence: number
  readonly retainedBytes: number
}

/** Entries that were cut here because the present history does not have them: `understudy journal` reads the file. */
export interface DivergentFileStatus {
  readonly name: string
  readonly epoch: string
  readonly firstSequence: number
  readonly lastSequence: number
  readonly entries: number
  /** Cut entries before the first, which had been trimmed from the journal already. */
  readonly missingEntries: number
  readonly bytes: number
}

/** One shard in `GET /v1/status`. Sequences are numbers, positions are written `epoch.sequence`. */
/** Where a shard stands on one node: what a probe may ask as often as it likes. */
export interface ShardStanding {
  readonly shard: string
  readonly role: Role
  readonly state: LifecycleState
  /** Why it is in this state, for people; names the next step where there is one. */
  readonly reason: string
  readonly historyId: string | undefined
  readonly epoch: Epoch | undefined
  readonly promised: Epoch
  /** On the primary the set in force, which a change under way has not replaced yet. */
  readonly inSync: readonly string[]
  readonly recordVersion: number | undefined
  readonly sequence: {
    readonly appended: number
    readonly durable: number
    readonly committed: number
    readonly applied: number
    readonly checkpoint: number
  }
  readonly lagMs: number | undefined
}

/** The whole picture, which looks at every other member. */
export interface ShardStatus extends ShardStanding {
  readonly since: string
  readonly position: string | undefined
  readonly settings: ShardSettings
  readonly primary: { readonly node: string; readonly address: string | undefined } | undefined
  readonly failover: FailoverStatus
  readonly coordinator: CoordinatorStatus
  /** Changes of primary seen by this process, newest last. */
  readonly failovers: readonly FailoverRecord[]
  /**
   * On a primary, with an automatic coordinator: it may answer linearizable reads for so much longer, at most. Undefined
   * on others, and on a primary that has no lease now.
   */
  readonly lease: { readonly heldMs: number } | undefined
  /** On a primary, of the last five seconds; undefined while there were no commits. */
  readonly commits?: CommitsStatus | undefined
  readonly followers: readonly FollowerStatus[]
  readonly slots: readonly SlotStatus[]
  readonly journal: { readonly bytes: number; readonly segments: number; readonly baseSequence: number }
  readonly bootstrap: BootstrapStatus | undefined
  readonly divergentFiles: readonly DivergentFileStatus[]
  /** What an operator should know now, worst first; empty when all is well. */
  readonly warnings: readonly string[]
}

export interface NodeStatus {
  readonly version: string
  readonly cluster: string
  readonly node: string
  readonly incarnation: string
  readonly boot: string
  readonly engine: string
  readonly advertise: string | undefined
  readonly coordinator: string
  readonly startedAt: string
  /** Other members by name: where they are configured to be and whether they answer. */
  readonly members: readonly MemberStatus[]
  readonly shards: readonly ShardStatus[]
  /** Only where this node hosts the voter of the builtin coordinator. */
  readonly voter?: VoterStatus
  /** Only over HTTP: who may use the node, and until when its certificate is valid. */
  readonly access?: AccessStatus
}

export interface MemberStatus {
  readonly node: string
  readonly address: string
  readonly reachable: boolean
  readonly role: Role | undefined
  readonly state: LifecycleState | undefined
  readonly epoch: Epoch | undefined
  readonly durable: number | undefined
  readonly applied: number | undefined
  readonly inSync: boolean
  readonly lastSeenMs: number | undefined
}

export interface NodeHandle {
  readonly name: string
  readonly cluster: string
  /** Throws `UNKNOWN_SHARD`: a shard is never guessed. */
  shard(name?: string): ShardHandle
  status(): NodeStatus
  metrics(): MetricsSnapshot
  /** Idempotent; ends every wait of its callers with `CLOSED`. */
  close(): Promise<void>
}

/** Numbers behind `/metrics`: totals since the process began; reading them changes nothing. */
export interface MetricsSnapshot {
  readonly shards: readonly ShardMetrics[]
  readonly voter?: VoterStatus
}

export interface ShardMetrics {
  readonly shard: string
  readonly status: ShardStatus
  readonly counters: {
    readonly reconnects: number
    readonly checksumFailures: number
    readonly gaps: number
    readonly fenced: number
    /** Times this node became primary by itself because another one was gone. */
    readonly failovers: number
    /** Changes of the in-sync set while this node was primary. */
    readonly inSyncChanges: number
    readonly coordinatorErrors: number
    readonly bootstrapBytes: number
    readonly bootstrapRestarts: number
    /** Entries that were undone because another history took their place. */
    readonly rewoundEntries: number
    /** By `from>to`, names of lifecycle states. */
    readonly transitions: ReadonlyMap<string, number>
  }
  readonly histograms: {
    readonly commitSeconds: HistogramSnapshot
    readonly journalFlushSeconds: HistogramSnapshot
    readonly applySeconds: HistogramSnapshot
    readonly blockEntries: HistogramSnapshot
  }
}
