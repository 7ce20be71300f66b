import { backoffMs } from '../../core/backoff.js'
import { limits } from '../../core/limits.js'
import type { ShardRecord } from '../../core/record.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../../errors.js'
import type { Clock, Timer } from '../../ports/clock.js'
import type {
  AutomaticCoordinator,
  CoordinatorCall,
  CoordinatorEvent,
  RecordState,
  Registration,
  SwapResult,
} from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import type { Random } from '../../ports/random.js'
import { CallTable } from './calls.js'
import type { OpenChannel, VoterChannel } from './channel.js'
import { KnownMembers } from './known-members.js'

export interface BuiltinCoordinatorParts {
  readonly description: string
  /** Names of the voters, as far as they are nodes of this cluster. */
  readonly voters: readonly string[]
  readonly open: OpenChannel
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly registrationMs: number
}

/** One node's way to the voter: keeps a channel open, watches, and keeps the node registered. */
export class BuiltinCoordinator implements AutomaticCoordinator {
  readonly kind = 'automatic'
  readonly description: string
  readonly voters: readonly string[]
  private readonly parts: BuiltinCoordinatorParts
  private readonly calls: CallTable
  private readonly members: KnownMembers
  private readonly records = new Map<string, RecordState>()
  private readonly listeners = new Set<(event: CoordinatorEvent) => void>()
  private readonly abort = new AbortController()
  private channel: VoterChannel | undefined
  private registration: Registration | undefined
  private registeredUntil = 0
  /** This process has held its name: from then on it does not take it from a newer one. */
  private hasHeld = false
  private renewal: Timer | undefined
  private running: Promise<void> | undefined
  private closing: Promise<void> | undefined
  private lastError: UnderstudyError | undefined

  constructor(parts: BuiltinCoordinatorParts) {
    this.parts = parts
    this.description = parts.description
    this.voters = parts.voters
    this.calls = new CallTable(parts.clock, () => this.lastError)
    this.members = new KnownMembers(parts.clock, parts.registrationMs, (members) =>
      this.emit({ type: 'members', members }),
    )
  }

  start(): void {
    if (this.closing === undefined) this.running ??= this.run()
  }

  subscribe(listener: (event: CoordinatorEvent) => void): () => void {
    this.listeners.add(listener)
    if (this.channel !== undefined) for (const event of this.presentEvents()) listener(event)
    else if (this.lastError !== undefined && this.closing === undefined) {
      listener({ type: 'disconnected', error: this.lastError })
    }
    return () => this.listeners.delete(listener)
  }

  get registeredUntilMs(): number {
    return this.registeredUntil > this.parts.clock.nowMs() ? this.registeredUntil : 0
  }

  read(shard: string, options: CoordinatorCall): Promise<RecordState> {
    return this.calls.call(options, 'none', (channel) => channel.read(shard))
  }

  swap(shard: string, expectedRevision: number, next: ShardRecord, options: CoordinatorCall): Promise<SwapResult> {
    return this.calls.call(options, 'unknown', (channel) => channel.swap(shard, expectedRevision, next))
  }

  register(member: Registration): void {
    if (member.node !== this.registration?.node || member.boot !== this.registration.boot) this.hasHeld = false
    this.registration = member
    this.renew()
  }

  close(): Promise<void> {
    this.closing ??= this.doClose()
    return this.closing
  }

  private async doClose(): Promise<void> {
    const { channel, registration } = this
    this.registration = undefined
    this.registeredUntil = 0
    this.renewal?.cancel()
    this.members.close()
    this.calls.close()
    if (channel !== undefined && registration !== undefined) {
      await this.within(limits.heartbeatMs, channel.unregister(registration.node, registration.boot))
    }
    this.abort.abort()
    channel?.close()
    await this.running
  }

  private async run(): Promise<void> {
    let attempt = 0
    let told = false
    while (!this.abort.signal.aborted) {
      let error: UnderstudyError
      try {
        const channel = await this.parts.open(attempt, this.abort.signal)
        // Closed while it began: nobody else knows this channel yet.
        const end = () => channel.close()
        this.abort.signal.addEventListener('abort', end, { once: true })
        if (this.abort.signal.aborted) end()
        try {
          await this.begin(channel)
          attempt = 0
          told = false
          error = (await channel.closed) ?? new UnderstudyError('UNAVAILABLE', `${channel.description} is gone`)
        } finally {
          this.abort.signal.removeEventListener('abort', end)
          channel.close()
        }
      } catch (thrown) {
        error = toUnderstudyError(thrown, `connecting to ${this.description}`)
      }
      if (this.abort.signal.aborted) break
      this.lose(error, told)
      told = true
      await this.pause(backoffMs(attempt, limits.reconnectMinMs, limits.reconnectMaxMs / 5, this.parts.random.next()))
      attempt += 1
    }
    this.channel = undefined
  }

  /** Reads all there is, then takes calls. Listeners hear `connected` before what was read, and that before changes. */
  private async begin(channel: VoterChannel): Promise<void> {
    let first: CoordinatorEvent[] | undefined = []
    let members: readonly Registration[] = []
    const seen = new Set<string>()
    const hear = (event: CoordinatorEvent) => {
      if (first === undefined) this.emit(event)
      else first.push(event)
    }
    const watching = channel.watch({
      onRecord: (shard, state) => {
        seen.add(shard)
        this.records.set(shard, state)
        hear({ type: 'record', shard, state })
      },
      onMembers: (present) => {
        members = present
        if (first === undefined) this.members.set(present)
      },
    })
    await Promise.race([watching, channel.closed.then((error) => Promise.reject(error))])
    this.channel = channel
    this.lastError = undefined
    this.parts.logger.info(
      { coordinatorId: channel.coordinatorId, voter: channel.description },
      'coordinator connected',
    )
    const events = first
    first = undefined
    this.emit({ type: 'connected' })
    this.members.begin(channel.voterBoot, members)
    for (const event of events) this.emit(event)
    // A record that the voter does not have any more: it is another voter, or was emptied.
    for (const shard of this.records.keys()) {
      if (seen.has(shard)) continue
      const state: RecordState = { coordinatorId: channel.coordinatorId, record: undefined, revision: 0 }
      this.records.delete(shard)
      this.emit({ type: 'record', shard, state })
    }
    this.renew()
    this.calls.connected(channel)
  }

  private lose(error: UnderstudyError, told: boolean): void {
    this.channel = undefined
    this.lastError = error
    this.registeredUntil = 0
    this.renewal?.cancel()
    this.calls.disconnected()
    if (told) return
    this.parts.logger.warn({ code: error.code, error: error.message }, 'coordinator disconnected')
    this.emit({ type: 'disconnected', error })
  }

  /** Sends the registration now and again each third of its life. Each counts from when it was sent. */
  private renew(): void {
    this.renewal?.cancel()
    const { channel, registration } = this
    if (channel === undefined || registration === undefined) return
    const { clock, registrationMs, logger } = this.parts
    const sentMs = clock.nowMs()
    this.renewal = clock.setTimer(registrationMs / 3, () => this.renew())
    if (this.hasHeld && this.members.otherBoot(registration) !== undefined) {
      // Also of a voter that was restarted and has forgotten the newer one: it is given time to come back.
      this.registeredUntil = 0
      return
    }
    channel.register(registration, { ttlMs: registrationMs, takesOver: !this.hasHeld }).then(
      () => {
        if (this.channel !== channel || this.registration !== registration) return
        this.hasHeld = true
        this.registeredUntil = Math.max(this.registeredUntil, sentMs + registrationMs)
      },
      (error) => {
        if (this.channel !== channel || this.registration !== registration) return
        if (isFailure(error, 'STALE_INCARNATION')) this.registeredUntil = 0
        logger.warn({ error: String(error) }, 'the coordinator did not take the registration')
      },
    )
  }

  private presentEvents(): CoordinatorEvent[] {
    return [
      { type: 'connected' },
      { type: 'members', members: this.members.present },
      ...[...this.records].map(([shard, state]) => ({ type: 'record', shard, state }) as const),
    ]
  }

  private emit(event: CoordinatorEvent): void {
    if (this.closing !== undefined) return
    for (const listener of [...this.listeners]) listener(event)
  }

  private pause(delayMs: number): Promise<void> {
    return this.within(delayMs, new Promise(() => undefined))
  }

  /** Until the work has ended, however it did, the time is over or the coordinator is closed. */
  private within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
    const { signal } = this.abort
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel()
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = this.parts.clock.setTimer(timeoutMs, end)
      signal.addEventListener('abort', end, { once: true })
      work.then(end, end)
      if (signal.aborted) end()
    })
  }
}
