import { limits } from './limits.js'
import { type Member, sameMember } from './record.js'

/**
 * A standby's side of a read lease: until when it must not take over. One per shard and process, never per connection:
 * nothing shortens it, a broken session least of all (L1).
 */
export class LeasePromise {
  private readonly promiseMs: number
  private until: number

  /** A process that starts has forgotten what it promised: it holds as if it had promised just now (L1). */
  constructor(startMs: number, promiseMs: number) {
    this.promiseMs = promiseMs
    this.until = startMs + promiseMs
  }

  /** Before the promise is sent: from then on it binds. */
  give(nowMs: number): void {
    this.until = Math.max(this.until, nowMs + this.promiseMs)
  }

  get untilMs(): number {
    return this.until
  }

  isOver(nowMs: number): boolean {
    return nowMs >= this.until
  }
}

interface Promised {
  readonly member: Member
  /** The newest of its requests that the member has promised, and when that was sent. */
  readonly id: number
  readonly sentMs: number
}

/**
 * The primary's side, for one epoch: what the members of the in-sync set have promised, counted from when they were
 * asked. It forgets nothing when a session ends: a promise binds whoever gave it, connected or not.
 */
export class ReadLease {
  private readonly leaseMs: number
  /** Requests that may still be answered in time, oldest first; ids go up by one. */
  private readonly requests: Array<{ readonly id: number; readonly sentMs: number }> = []
  private readonly promises = new Map<string, Promised>()
  private lastId = 0

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs
  }

  /** Remembers that everybody is asked now; a promise that comes later than the lease it asked for counts no more. */
  request(nowMs: number): number {
    this.lastId += 1
    while (this.requests[0] !== undefined && this.requests[0].sentMs + this.leaseMs <= nowMs) this.requests.shift()
    // Whoever asks faster than answers come loses the oldest questions.
    if (this.requests.length >= limits.leaseRequestsMax) this.requests.shift()
    this.requests.push({ id: this.lastId, sentMs: nowMs })
    return this.lastId
  }

  /** The newest request; 0 before the first. */
  get newestRequest(): number {
    return this.lastId
  }

  /** `stale`: not asked, forgotten, or asked before the lease was given up. */
  onPromise(member: Member, id: number): 'counted' | 'stale' {
    const request = this.requests.find((one) => one.id === id)
    if (request === undefined) return 'stale'
    const before = this.promises.get(member.node)
    if (before !== undefined && sameMember(before.member, member) && before.id >= id) return 'counted'
    this.promises.set(member.node, { member, ...request })
    return 'counted'
  }

  /**
   * Until when this primary may answer reads if `members` are all of the union of the sets that may be in force: the
   * lowest of their promises; undefined without one of each. Others than `self` only count.
   */
  validUntilMs(members: readonly Member[], self: Member): number | undefined {
    let lowestMs = Number.POSITIVE_INFINITY
    for (const member of members) {
      if (sameMember(member, self)) continue
      const promise = this.promiseOf(member)
      if (promise === undefined) return undefined
      lowestMs = Math.min(lowestMs, promise.sentMs)
    }
    return lowestMs + this.leaseMs
  }

  /**
   * The newest request that every one of `members` has promised: at some time after that was sent each of them followed
   * in this epoch, whatever any clock says. Infinite without others than `self`; 0 if one has promised nothing.
   */
  confirmedRequest(members: readonly Member[], self: Member): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const member of members) {
      if (!sameMember(member, self)) lowest = Math.min(lowest, this.promiseOf(member)?.id ?? 0)
    }
    return lowest
  }

  /** Asked before a member is added to the set: its promise comes first (L1). */
  hasPromise(member: Member, nowMs: number): boolean {
    const promise = this.promiseOf(member)
    return promise !== undefined && nowMs < promise.sentMs + this.leaseMs
  }

  /** Gives the lease up: of what was promised nothing counts any more, nor do answers to what was asked before (L5). */
  revoke(): void {
    this.requests.length = 0
    this.promises.clear()
  }

  private promiseOf(member: Member): Promised | undefined {
    const promise = this.promises.get(member.node)
    return promise !== undefined && sameMember(promise.member, member) ? promise : undefined
  }
}

/** What a primary rests on that is alone in its set. */
export interface Solitude {
  /** Another node takes part, or did: it may be about to join, or be the one that this node was cut off from. */
  readonly othersKnown: boolean
  /** Until when the coordinator holds this node's registration. */
  readonly registeredUntilMs: number
}

/** A set of one has nobody to ask: if others are configured, it must hold its registration instead (L4). */
export function soleUntilMs(solitude: Solitude): number {
  return solitude.othersKnown ? solitude.registeredUntilMs : Number.POSITIVE_INFINITY
}
