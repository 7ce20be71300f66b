import type { ShardRecord } from '../core/record.js'

/** Who takes part, and who keeps the record of each shard. */
export type Coordinator = StaticCoordinator | AutomaticCoordinator

/** The members come from the configuration and every node keeps the record itself; promotion is by hand. */
export interface StaticCoordinator {
  readonly kind: 'static'
  /** As configured, without secrets: for status and messages. */
  readonly description: string
  /** All other nodes. */
  readonly members: readonly MemberAddress[]
  /** Who creates the history of an empty cluster; undefined: only a promotion by hand does. */
  readonly initialPrimary: string | undefined
}

export interface MemberAddress {
  readonly node: string
  readonly address: string
}

/**
 * A store outside of the data path that holds one record per shard, changed only by compare-and-swap, and a registry
 * of members with leases. Nothing in the write path waits for it. One instance serves one node of one cluster.
 *
 * While the store is away every call ends with a coded error (`UNAVAILABLE`, `TIMEOUT`; retryable) within its time-out
 * and the instance reconnects by itself; `disconnected` and `connected` events tell.
 */
export interface AutomaticCoordinator {
  readonly kind: 'automatic'
  /** As configured, without secrets. */
  readonly description: string
  /** Connects and begins to watch. Returns at once; a store that is away is an event, not an error. Idempotent. */
  start(): void
  /** Listeners hear the present state first (what is known of it), then changes. Returns what ends it. */
  subscribe(listener: (event: CoordinatorEvent) => void): () => void
  /** The record as it is now: linearizable, never from a cache. */
  read(shard: string, options: CoordinatorCall): Promise<RecordState>
  /**
   * Writes `next` if the record is still the one of `expectedRevision` (0: there is none). Outcome of the error: `none`
   * if it certainly did not happen and cannot happen any more, else `unknown`: then only a read that shows a later
   * revision, or another swap of the same revision that was decided, tells (C3).
   */
  swap(shard: string, expectedRevision: number, next: ShardRecord, options: CoordinatorCall): Promise<SwapResult>
  /** Keeps this member registered, with a lease that is renewed, until close. Called again, it replaces what was said. */
  register(member: Registration): void
  /**
   * Names of the nodes that keep the records, where processes of this cluster do: with them the store may be lost.
   * Absent for a store of its own.
   */
  readonly voters?: readonly string[]
  /**
   * Until when (on the clock that was handed in, counted from when the request was sent) the registration is certain to
   * be alive; 0 before the first and after it was lost.
   */
  readonly registeredUntilMs: number
  /** Gives the registration back if that can be done at once, and ends all calls with `CLOSED`. Idempotent. */
  close(): Promise<void>
}

export interface CoordinatorCall {
  /** Counted on the monotonic clock from the call. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface RecordState {
  /** Random id of the store, made by whoever used it first: another id is another store (S6). */
  readonly coordinatorId: string
  readonly record: ShardRecord | undefined
  /** Changes with each write of the record and grows; 0 if there is no record. */
  readonly revision: number
}

export type SwapResult =
  | { readonly swapped: true; readonly state: RecordState }
  /** Somebody else's record (or, after an unknown outcome, this one: compare the nonce) is there. */
  | { readonly swapped: false; readonly state: RecordState }

/** A node that takes part, as it registered itself. */
export interface Registration extends MemberAddress {
  /** Of the process: a second one under the same name is seen by it. */
  readonly boot: string
}

export type CoordinatorEvent =
  /**
   * Revisions of a shard's record arrive in order and never go back, except when the store did. After a break all is
   * read again, so that the present record is always told, perhaps a second time, while records between may be skipped.
   * A record that is gone is told as absent, with revision 0.
   */
  | { readonly type: 'record'; readonly shard: string; readonly state: RecordState }
  /** All members with a living registration, this one included. */
  | { readonly type: 'members'; readonly members: readonly Registration[] }
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly error: Error }
