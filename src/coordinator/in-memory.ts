import type { ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type {
  AutomaticCoordinator,
  CoordinatorCall,
  CoordinatorEvent,
  RecordState,
  Registration,
  SwapResult,
} from '../ports/coordinator.js'

/** How calls of one node fare, for tests and simulations. */
export interface InMemoryWeather {
  /** False: nothing passes between this node and the store. */
  readonly reachable?: boolean
  /** Each way takes this long. */
  readonly delayMs?: number
  /** The next swaps are applied, but their replies are lost. */
  readonly loseReplies?: number
}

/**
 * A coordinator's store in memory, shared by the nodes of one process: for tests, simulations and the conformance
 * suite. Every node has its own client, whose weather can be made bad.
 */
export class InMemoryCoordinatorStore {
  private coordinatorId: string
  private revision = 0
  /** Of the store and of what is on its way to it, whatever becomes of who sent it. */
  readonly clock: Clock
  private readonly records = new Map<string, { readonly record: ShardRecord; readonly revision: number }>()
  private readonly registrations = new Map<string, { readonly member: Registration; readonly expiresMs: number }>()
  private readonly clients = new Set<InMemoryCoordinator>()
  private sweepTimer: Timer | undefined

  constructor(clock: Clock, coordinatorId: string) {
    this.clock = clock
    this.coordinatorId = coordinatorId
  }

  client(options: { readonly clock: Clock; readonly registrationMs: number }): InMemoryCoordinator {
    const client = new InMemoryCoordinator(this, options)
    this.clients.add(client)
    return client
  }

  state(shard: string): RecordState {
    const held = this.records.get(shard)
    return { coordinatorId: this.coordinatorId, record: held?.record, revision: held?.revision ?? 0 }
  }

  get shards(): readonly string[] {
    return [...this.records.keys()]
  }

  swap(shard: string, expectedRevision: number, next: ShardRecord): SwapResult {
    if (this.state(shard).revision !== expectedRevision || next.coordinatorId !== this.coordinatorId)
      return { swapped: false, state: this.state(shard) }
    this.revision += 1
    this.records.set(shard, { record: next, revision: this.revision })
    const state = this.state(shard)
    for (const client of this.clients) client.tell({ type: 'record', shard, state })
    return { swapped: true, state }
  }

  /** False: a newer process of the same name is registered, and `takesOver` is not set. */
  register(member: Registration, ttlMs: number, takesOver: boolean): boolean {
    const before = this.registrations.get(member.node)?.member
    if (!takesOver && before !== undefined && before.boot !== member.boot) return false
    this.registrations.set(member.node, { member, expiresMs: this.clock.nowMs() + ttlMs })
    if (before?.boot !== member.boot || before.address !== member.address) this.tellMembers()
    this.scheduleSweep()
    return true
  }

  unregister(node: string, boot: string): void {
    if (this.registrations.get(node)?.member.boot !== boot) return
    this.registrations.delete(node)
    this.tellMembers()
  }

  get members(): readonly Registration[] {
    return [...this.registrations.values()].map(({ member }) => member)
  }

  forget(client: InMemoryCoordinator): void {
    this.clients.delete(client)
  }

  /** The store is lost and begins anew, as after a wiped disk; or goes back to an earlier content of one record. */
  restore(records: ReadonlyMap<string, ShardRecord>, coordinatorId = this.coordinatorId, revisionOfFirst = 1): void {
    this.coordinatorId = coordinatorId
    this.records.clear()
    this.revision = Math.max(0, revisionOfFirst - 1)
    for (const [shard, record] of records) {
      this.revision += 1
      this.records.set(shard, { record, revision: this.revision })
    }
    for (const client of this.clients) client.reconnect()
  }

  private tellMembers(): void {
    for (const client of this.clients) client.tell({ type: 'members', members: this.members })
  }

  private scheduleSweep(): void {
    if (this.sweepTimer !== undefined || this.registrations.size === 0) return
    const soonest = Math.min(...[...this.registrations.values()].map(({ expiresMs }) => expiresMs))
    this.sweepTimer = this.clock.setTimer(Math.max(1, soonest - this.clock.nowMs()), () => {
      this.sweepTimer = undefined
      const nowMs = this.clock.nowMs()
      let expired = false
      for (const [node, { expiresMs }] of this.registrations) {
        if (expiresMs <= nowMs) expired = this.registrations.delete(node)
      }
      if (expired) this.tellMembers()
      this.scheduleSweep()
    })
  }
}

/** One node's way to the store. */
export class InMemoryCoordinator implements AutomaticCoordinator {
  readonly kind = 'automatic'
  readonly description = 'in memory'
  private untilMs = 0
  private readonly store: InMemoryCoordinatorStore
  private readonly clock: Clock
  private readonly registrationMs: number
  private readonly listeners = new Set<(event: CoordinatorEvent) => void>()
  private readonly pending = new Set<(error: UnderstudyError) => void>()
  /** Shards whose record this node was told: where it is gone, that is told as well. */
  private readonly told = new Set<string>()
  private weather: InMemoryWeather = {}
  private registration: Registration | undefined
  /** This process has held its name: from then on it does not take it from a newer one. */
  private hasHeld = false
  private renewal: Timer | undefined
  private started = false
  private connected = false
  private closed = false
  /** Number of the connection that stands or stood last. */
  private connection = 0
  /** When the last event under way arrives. */
  private toldUntilMs = 0

  constructor(store: InMemoryCoordinatorStore, options: { readonly clock: Clock; readonly registrationMs: number }) {
    this.store = store
    this.clock = options.clock
    this.registrationMs = options.registrationMs
  }

  get registeredUntilMs(): number {
    return this.untilMs > this.clock.nowMs() ? this.untilMs : 0
  }

  start(): void {
    if (this.started || this.closed) return
    this.started = true
    if (this.weather.reachable === false) this.emit({ type: 'disconnected', error: unreachable() })
    else this.reconnect()
  }

  subscribe(listener: (event: CoordinatorEvent) => void): () => void {
    this.listeners.add(listener)
    if (this.connected) for (const event of this.presentEvents()) listener(event)
    else if (this.started && !this.closed) listener({ type: 'disconnected', error: unreachable() })
    return () => this.listeners.delete(listener)
  }

  /** Changes what passes between this node and the store; what was on its way stays lost. */
  setWeather(weather: InMemoryWeather): void {
    const was = this.weather.reachable !== false
    this.weather = weather
    const is = weather.reachable !== false
    if (was === is || !this.started || this.closed) return
    if (is) this.reconnect()
    else {
      this.connected = false
      this.emit({ type: 'disconnected', error: unreachable() })
    }
  }

  reconnect(): void {
    if (this.closed || !this.started || this.weather.reachable === false) return
    this.connected = true
    this.connection += 1
    this.renew()
    for (const event of this.presentEvents()) this.emit(event)
  }

  tell(event: CoordinatorEvent): void {
    if (!this.connected || this.closed) return
    const { connection } = this
    const { delayMs } = this.weather
    const deliver = () => {
      // What an earlier connection still carried is older than what this one began with.
      if (connection === this.connection && this.connected && !this.closed) this.emit(event)
    }
    // In order, also when the weather clears up.
    const nowMs = this.clock.nowMs()
    if (delayMs === undefined && this.toldUntilMs <= nowMs) this.clock.defer(deliver)
    else {
      this.toldUntilMs = Math.max(this.toldUntilMs, nowMs + (delayMs ?? 0))
      this.clock.setTimer(this.toldUntilMs - nowMs, deliver)
    }
  }

  read(shard: string, options: CoordinatorCall): Promise<RecordState> {
    return this.call(options, 'none', () => this.store.state(shard))
  }

  swap(shard: string, expectedRevision: number, next: ShardRecord, options: CoordinatorCall): Promise<SwapResult> {
    return this.call(options, 'unknown', () => this.store.swap(shard, expectedRevision, next), true)
  }

  register(member: Registration): void {
    if (member.node !== this.registration?.node || member.boot !== this.registration.boot) this.hasHeld = false
    this.registration = member
    if (this.connected) this.renew()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.untilMs = 0
    this.renewal?.cancel()
    this.store.forget(this)
    if (this.registration !== undefined && this.weather.reachable !== false) {
      this.store.unregister(this.registration.node, this.registration.boot)
    }
    for (const fail of [...this.pending]) fail(new UnderstudyError('CLOSED', 'the coordinator was closed'))
  }

  private call<T>(options: CoordinatorCall, outcome: 'none' | 'unknown', work: () => T, canLose = false): Promise<T> {
    const { signal, timeoutMs } = options
    if (this.closed) return Promise.reject(new UnderstudyError('CLOSED', 'the coordinator was closed'))
    if (signal?.aborted) return Promise.reject(new UnderstudyError('ABORTED', 'the call was aborted'))
    return new Promise((resolve, reject) => {
      // Whoever gives it up: what has left may take effect.
      const fail = (error: UnderstudyError) => settle(() => reject(error.withOutcome(outcome)))
      const onAbort = () => fail(new UnderstudyError('ABORTED', 'the call was aborted'))
      const late = () => fail(new UnderstudyError('TIMEOUT', 'the coordinator did not answer in time'))
      const timer = this.clock.setTimer(timeoutMs, late, { keepsAlive: true })
      const settle = (end: () => void) => {
        if (!this.pending.delete(fail)) return
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        end()
      }
      this.pending.add(fail)
      signal?.addEventListener('abort', onAbort, { once: true })
      // A request that has left takes effect, whether its caller still waits or not.
      this.send(() => {
        const result = work()
        if (canLose && (this.weather.loseReplies ?? 0) > 0) {
          this.weather = { ...this.weather, loseReplies: this.weather.loseReplies! - 1 }
          return
        }
        this.answer(() => settle(() => resolve(result)))
      })
    })
  }

  /** From this node to the store. */
  private send(step: () => void): void {
    this.pass(this.store.clock, step)
  }

  /** From the store to this node, whose process may be gone. */
  private answer(step: () => void): void {
    this.pass(this.clock, step)
  }

  private pass(clock: Clock, step: () => void): void {
    if (this.weather.reachable === false) return
    if (this.weather.delayMs === undefined) clock.defer(step)
    else clock.setTimer(this.weather.delayMs, step)
  }

  private presentEvents(): CoordinatorEvent[] {
    const shards = new Set([...this.told, ...this.store.shards])
    return [
      { type: 'connected' },
      { type: 'members', members: this.store.members },
      ...[...shards].map((shard) => ({ type: 'record', shard, state: this.store.state(shard) }) as const),
    ]
  }

  private emit(event: CoordinatorEvent): void {
    if (event.type === 'record') this.told.add(event.shard)
    for (const listener of this.listeners) listener(event)
  }

  private renew(): void {
    this.renewal?.cancel()
    const { registration } = this
    if (registration === undefined || this.closed || !this.connected) return
    const sentMs = this.clock.nowMs()
    this.send(() => {
      if (this.closed || this.registration !== registration) return
      const held = this.store.register(registration, this.registrationMs, !this.hasHeld)
      this.answer(() => {
        if (this.closed || this.registration !== registration) return
        this.untilMs = held ? sentMs + this.registrationMs : 0
        this.hasHeld ||= held
      })
    })
    this.renewal = this.clock.setTimer(this.registrationMs / 3, () => this.renew())
  }
}

function unreachable(): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', 'the coordinator is unreachable')
}
