import { ReadLease, type Solitude, soleUntilMs } from '../core/lease.js'
import { limits } from '../core/limits.js'
import type { Member } from '../core/record.js'
import type { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import { Waiters } from './waiters.js'

export interface LeaseTerms {
  readonly leaseMs: number
  readonly heartbeatMs: number
  /** What counts while nobody else is in the set. */
  readonly solitude: () => Solitude
}

/** Whoever can be asked for a promise. */
export interface Promiser {
  askPromise(id: number): void
}

export interface LeaseKeeperParts {
  readonly terms: LeaseTerms
  readonly clock: Clock
  readonly self: Member
  /** The union of the sets that may be in force. */
  readonly members: () => readonly Member[]
  readonly followers: () => Iterable<Promiser>
  /** Somebody has promised, and the lease is held: what waited for it may be answered. */
  readonly onHeld: () => void
}

/**
 * Keeps the read lease of a primary alive: asks every follower for its promise again and again, and only by that. What
 * hangs asks nothing, and its lease runs out by itself (F37).
 */
export class LeaseKeeper {
  private readonly parts: LeaseKeeperParts
  private readonly lease: ReadLease
  private readonly waiters: Waiters
  private timer: Timer | undefined
  private suspended = false
  private ended: UnderstudyError | undefined
  /** A round that readers wanted, beside the regular ones, and that is not answered by all: one at a time. */
  private extraRound: number | undefined
  private extraWanted = false

  constructor(parts: LeaseKeeperParts) {
    this.parts = parts
    this.lease = new ReadLease(parts.terms.leaseMs)
    this.waiters = new Waiters(parts.clock)
  }

  start(): void {
    if (this.timer !== undefined || this.ended !== undefined) return
    this.beat()
  }

  /** A follower whose stream has just begun need not wait for the next round. */
  ask(follower: Promiser): void {
    if (this.suspended || this.ended !== undefined) return
    follower.askPromise(this.lease.request(this.parts.clock.nowMs()))
  }

  onPromise(member: Member, id: number): void {
    if (this.ended !== undefined || this.lease.onPromise(member, id) === 'stale') return
    this.tell()
    if (this.extraRound !== undefined && this.confirmed >= this.extraRound) {
      this.extraRound = undefined
      if (this.extraWanted) this.beginExtraRound()
    }
  }

  /** Own clock; infinite where nobody else could be primary; undefined without a promise of every member. */
  get validUntilMs(): number | undefined {
    if (this.suspended || this.ended !== undefined) return undefined
    const members = this.parts.members()
    const untilMs = this.lease.validUntilMs(members, this.parts.self)
    return members.length === 1 ? soleUntilMs(this.parts.terms.solitude()) : untilMs
  }

  /** Asked after a value was read, or a write synced: never before (L1). */
  get isHeld(): boolean {
    const untilMs = this.validUntilMs
    return untilMs !== undefined && this.parts.clock.nowMs() < untilMs
  }

  /** For status: how long the lease would last from now on; undefined if it is not held. */
  get heldMs(): number | undefined {
    const untilMs = this.validUntilMs
    if (untilMs === undefined) return undefined
    const leftMs = Math.min(untilMs - this.parts.clock.nowMs(), this.parts.terms.leaseMs)
    return leftMs > 0 ? Math.round(leftMs) : undefined
  }

  /** For how long the data here may have been overtaken elsewhere: 0 under a lease, undefined if there never was one. */
  get lagMs(): number | undefined {
    const untilMs = this.validUntilMs
    return untilMs === undefined ? undefined : Math.max(0, Math.ceil(this.parts.clock.nowMs() - untilMs))
  }

  /** Asked before a member is added to the in-sync set (L1). */
  hasPromise(member: Member): boolean {
    return this.lease.hasPromise(member, this.parts.clock.nowMs())
  }

  /** Waits until the lease is held; fails `FENCED` (L2). */
  async held(options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    await this.wait(() => this.isHeld, 'the read lease', options)
  }

  /**
   * Marks the beginning of a read that is to be confirmed by a round trip to the whole set. Requests are numbered, so
   * that no clock takes part.
   */
  beginConfirmation(): number {
    const id = this.lease.newestRequest + 1
    this.extraWanted = true
    if (this.extraRound === undefined) this.parts.clock.defer(() => this.beginExtraRound())
    return id
  }

  isConfirmed(id: number): boolean {
    return this.ended === undefined && !this.suspended && this.confirmed >= id
  }

  async whenConfirmed(
    id: number,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    await this.wait(() => this.isConfirmed(id), 'a round trip to the in-sync set', options)
  }

  /** Gives the lease up, and asks for none, until `resume` (L5). */
  suspend(): void {
    this.suspended = true
    this.lease.revoke()
  }

  /** Asks again: only promises that are given from now on count. */
  resume(): void {
    if (!this.suspended) return
    this.suspended = false
    this.round()
  }

  /** The role is over: everybody who waits hears why. */
  end(error: UnderstudyError): void {
    if (this.ended !== undefined) return
    this.ended = error
    this.timer?.cancel()
    this.waiters.close(error)
  }

  private get confirmed(): number {
    return this.lease.confirmedRequest(this.parts.members(), this.parts.self)
  }

  private beat(): void {
    if (this.ended !== undefined) return
    this.round()
    // Without others nobody's answer would tell that the registration is back.
    this.tell()
    this.timer = this.parts.clock.setTimer(this.parts.terms.heartbeatMs, () => this.beat())
  }

  private round(): number | undefined {
    if (this.suspended || this.ended !== undefined) return undefined
    const id = this.lease.request(this.parts.clock.nowMs())
    for (const follower of this.parts.followers()) follower.askPromise(id)
    return id
  }

  private beginExtraRound(): void {
    if (!this.extraWanted || this.extraRound !== undefined) return
    this.extraWanted = false
    this.extraRound = this.round()
    this.waiters.check()
  }

  private tell(): void {
    if (this.isHeld) this.parts.onHeld()
    this.waiters.check()
  }

  private async wait(
    holds: () => boolean,
    what: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    if (this.ended !== undefined) throw this.ended
    await this.waiters.until(holds, {
      timeoutMs: Math.min(options.timeoutMs, limits.writeTimeoutMsMax),
      signal: options.signal,
      what: `${this.parts.self.node} waits for ${what}`,
      code: 'FENCED',
      error: { hint: 'another node may be primary by now; { consistency: "local" } reads what is here all the same' },
    })
  }
}
