import { invariant } from '../../core/invariant.js'
import { limits } from '../../core/limits.js'
import { clockRateMargin } from '../../core/timings.js'
import { UnderstudyError } from '../../errors.js'
import type { Clock, Timer } from '../../ports/clock.js'
import type { Registration } from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import type { EtcdClient } from './client.js'
import type { Keys } from './keys.js'
import { type KeyValue, methods } from './protocol.js'
import { decodeRegistration, encodeRegistration } from './values.js'

/** Between reading the own key and writing it somebody else may write it: so often at most in one round. */
const placeTriesMax = 3

/** Keeps one registration in etcd, under a lease that is renewed three times within its time to live. */
export class Registrar {
  private readonly client: EtcdClient
  private readonly keys: Keys
  private readonly clock: Clock
  private readonly logger: Logger
  private readonly registrationMs: number
  private readonly aborter = new AbortController()
  private member: Registration | undefined
  private leaseId: string | undefined
  private leaseUntilMs = 0
  private untilMs = 0
  /** The name may be ours already: from then on it is not taken from a newer process. */
  private mayHold = false
  /** Revision of what a write of unknown outcome was to replace: what still has it is not newer. */
  private replacing: number | undefined
  private again = false
  private wake: (() => void) | undefined
  private running: Promise<void> | undefined

  constructor(options: {
    readonly client: EtcdClient
    readonly keys: Keys
    readonly clock: Clock
    readonly logger: Logger
    readonly registrationMs: number
  }) {
    this.client = options.client
    this.keys = options.keys
    this.clock = options.clock
    this.logger = options.logger
    this.registrationMs = options.registrationMs
  }

  get registeredUntilMs(): number {
    return this.untilMs > this.clock.nowMs() ? this.untilMs : 0
  }

  register(member: Registration): void {
    // Throws where the name makes no key.
    this.keys.member(member.node)
    invariant(this.member === undefined || this.member.node === member.node, 'a coordinator serves one node')
    if (member.boot !== this.member?.boot) {
      this.mayHold = false
      this.replacing = undefined
      this.untilMs = 0
    }
    this.member = member
    this.lookNow()
  }

  start(): void {
    this.running ??= this.run()
  }

  /** What the watch shows: if that is not this registration, it is looked at now. */
  onMembers(members: readonly Registration[]): void {
    const { member } = this
    if (member === undefined || this.untilMs === 0) return
    const seen = members.find(({ node }) => node === member.node)
    if (seen?.boot === member.boot && seen.address === member.address) return
    this.lookNow()
  }

  /** Gives the registration back if `connected`, within a short time. */
  async close(connected: boolean): Promise<void> {
    this.untilMs = 0
    this.aborter.abort()
    await this.running
    if (this.leaseId === undefined || !connected) return
    const call = { timeoutMs: limits.coordinatorCloseTimeoutMs }
    try {
      await this.client.call(methods.leaseRevoke, { ID: this.leaseId }, call, new AbortController().signal)
    } catch (error) {
      this.logger.info({ error: String(error) }, 'the registration in etcd was not given back; it expires')
    }
  }

  private get closed(): boolean {
    return this.aborter.signal.aborted
  }

  private async run(): Promise<void> {
    while (!this.closed) {
      let pauseMs = this.registrationMs / 3
      this.again = false
      if (this.member !== undefined) {
        try {
          await this.round(this.member)
        } catch (error) {
          if (this.closed) return
          pauseMs /= 3
          this.logger.warn({ error: String(error) }, 'the registration in etcd could not be renewed')
        }
      }
      await this.pause(pauseMs)
    }
  }

  private async round(member: Registration): Promise<void> {
    await this.renewLease()
    const held = await this.place(member)
    if (this.closed || member !== this.member) return
    this.untilMs = held ? this.leaseUntilMs : 0
  }

  private async renewLease(): Promise<void> {
    const sentMs = this.clock.nowMs()
    if (this.leaseId !== undefined) {
      const { TTL } = await this.client.call(
        methods.leaseKeepAlive,
        { ID: this.leaseId },
        this.patience,
        this.aborter.signal,
        'stream',
      )
      if (Number(TTL) > 0) {
        this.leaseUntilMs = sentMs + this.registrationMs
        return
      }
      this.leaseId = undefined
      this.untilMs = 0
    }
    // Whole seconds on etcd's clock, which may be faster than ours.
    const seconds = Math.ceil((this.registrationMs * (1 + clockRateMargin)) / 1000)
    const granted = await this.client.call(methods.leaseGrant, { TTL: seconds }, this.patience, this.aborter.signal)
    this.leaseId = granted.ID
    this.leaseUntilMs = sentMs + this.registrationMs
  }

  /** True: the own key holds this registration, under the own lease. */
  private async place(member: Registration): Promise<boolean> {
    const key = this.keys.member(member.node)
    const value = encodeRegistration(member)
    for (let tries = 0; tries < placeTriesMax; tries++) {
      const { kvs } = await this.client.call(methods.range, { key }, this.patience, this.aborter.signal)
      const [present] = kvs
      const lease = this.leaseId!
      if (present !== undefined) {
        if (present.lease === lease && present.value.equals(value)) {
          this.mayHold = true
          return true
        }
        const isOlder = this.bootOf(present) === member.boot || Number(present.modRevision) === this.replacing
        if (this.mayHold && !isOlder) return false
      }
      const modRevision = Number(present?.modRevision ?? 0)
      if (await this.put(key, value, lease, modRevision)) {
        this.mayHold = true
        return true
      }
    }
    return false
  }

  private async put(key: Buffer, value: Buffer, lease: string, modRevision: number): Promise<boolean> {
    try {
      const { succeeded } = await this.client.callOnce(
        methods.txn,
        {
          compare: [{ result: 'EQUAL', target: 'MOD', key, modRevision }],
          success: [{ requestPut: { key, value, lease } }],
          failure: [],
        },
        this.patience,
        this.aborter.signal,
      )
      return succeeded
    } catch (error) {
      if (error instanceof UnderstudyError && error.outcome === 'unknown') {
        this.mayHold = true
        this.replacing = modRevision
      }
      throw error
    }
  }

  private bootOf(present: KeyValue): string | undefined {
    try {
      return decodeRegistration(present.key.toString(), present.value).boot
    } catch {
      // Not written by a process of this release: it stays, as one that is newer would.
      return undefined
    }
  }

  private lookNow(): void {
    this.again = true
    this.wake?.()
  }

  /** A round that takes longer would eat up the lease. */
  private get patience(): { readonly timeoutMs: number } {
    return { timeoutMs: this.registrationMs / 3 }
  }

  private async pause(delayMs: number): Promise<void> {
    if (this.closed || this.again) return
    await new Promise<void>((resolve) => {
      let timer: Timer | undefined
      const done = () => {
        timer?.cancel()
        this.wake = undefined
        this.aborter.signal.removeEventListener('abort', done)
        resolve()
      }
      timer = this.clock.setTimer(delayMs, done)
      this.wake = done
      this.aborter.signal.addEventListener('abort', done, { once: true })
    })
  }
}
