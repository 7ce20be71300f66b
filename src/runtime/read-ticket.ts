import { UnderstudyError } from '../errors.js'
import type { Consistency, ReadTicket, WaitOptions } from './handle.js'
import type { LeaseKeeper } from './lease-keeper.js'
import type { PrimaryRole } from './primary-role.js'
import type { ShardContext } from './shard-context.js'

/** What is here is what was asked for. */
const localRead: ReadTicket = { isGranted: true, granted: () => Promise.resolve() }

/** A read of a primary: granted while its lease is held, whatever was read before (L1). One object per role. */
class LeasedRead implements ReadTicket {
  private readonly role: PrimaryRole
  private readonly lease: LeaseKeeper
  private readonly timeoutMs: number

  constructor(role: PrimaryRole, lease: LeaseKeeper, timeoutMs: number) {
    this.role = role
    this.lease = lease
    this.timeoutMs = timeoutMs
  }

  get isGranted(): boolean {
    return this.role.isReady && this.lease.isHeld
  }

  granted(options: WaitOptions = {}): Promise<void> {
    return this.lease.held({ timeoutMs: options.timeoutMs ?? this.timeoutMs, signal: options.signal })
  }
}

/** A read that rests on no clock: granted once every member of the set has answered something asked after it began. */
class ConfirmedRead implements ReadTicket {
  private readonly role: PrimaryRole
  private readonly lease: LeaseKeeper
  private readonly timeoutMs: number
  private readonly id: number

  constructor(role: PrimaryRole, lease: LeaseKeeper, timeoutMs: number) {
    this.role = role
    this.lease = lease
    this.timeoutMs = timeoutMs
    this.id = lease.beginConfirmation()
  }

  get isGranted(): boolean {
    return this.role.isReady && this.lease.isConfirmed(this.id)
  }

  granted(options: WaitOptions = {}): Promise<void> {
    return this.lease.whenConfirmed(this.id, {
      timeoutMs: options.timeoutMs ?? this.timeoutMs,
      signal: options.signal,
    })
  }
}

/** Decides, before anything is read, what the read will have to show: the role is that of this moment. */
export class ReadDesk {
  private readonly context: ShardContext
  private readonly leased = new WeakMap<PrimaryRole, LeasedRead>()

  constructor(context: ShardContext) {
    this.context = context
  }

  /** Nothing asked for means linearizable on a primary, and on a standby what that has. */
  begin(consistency: Consistency | undefined): ReadTicket {
    if (consistency === 'local') return localRead
    const { primary, cluster } = this.context
    if (cluster.automatic === undefined) return this.withoutLease(consistency)
    const lease = primary?.lease
    if (primary === undefined || lease === undefined || !primary.isReady) return this.elsewhere(consistency)
    if (consistency === 'confirmed') return new ConfirmedRead(primary, lease, this.context.timings.failoverMs)
    const known = this.leased.get(primary)
    if (known !== undefined) return known
    const ticket = new LeasedRead(primary, lease, this.context.timings.failoverMs)
    this.leased.set(primary, ticket)
    return ticket
  }

  /** A person promotes, without waiting for any promise: nothing that a primary knows excludes it (C8). */
  private withoutLease(consistency: Consistency | undefined): ReadTicket {
    const isAlone = this.context.cluster.others.length === 0 && this.context.primary?.isReady === true
    if (consistency === undefined || isAlone) return localRead
    throw new UnderstudyError(
      'BAD_REQUEST',
      `reads cannot be ${consistency} with the static coordinator: a promotion by hand asks no primary`,
      { hint: 'leave consistency out, or use a coordinator that decides by itself' },
    )
  }

  private elsewhere(consistency: Consistency | undefined): ReadTicket {
    const { context } = this
    const { node } = context.config
    if (consistency === undefined) return localRead
    if (context.primary !== undefined || context.state === 'promoting') {
      throw new UnderstudyError('NOT_READY', `${node} is becoming the primary: ${context.reason}`)
    }
    const record = context.newestRecord
    const address = record === undefined ? undefined : context.addressOf(record.primary.node)
    throw new UnderstudyError(
      'NOT_PRIMARY',
      `${node} is not the primary${record === undefined ? '' : `; ${record.primary.node} is`}: its reads are not ${consistency}`,
      {
        ...(address === undefined ? {} : { primary: address }),
        hint: 'read from the primary, or say with minPosition or maxLagMs how fresh the data must be',
      },
    )
  }
}
