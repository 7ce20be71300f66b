/** A node without journal, peers or disk: one shard over a map, to try server and command line against. */
import type { Family, Operation } from '#src/core/entry.js'
import { type LifecycleState, roleOf } from '#src/core/lifecycle.js'
import type { Epoch, Position } from '#src/core/position.js'
import { epochZero, formatPosition } from '#src/core/position.js'
import { UnderstudyError } from '#src/errors.js'
import type { EngineIterator, EngineSnapshot, ScanOptions } from '#src/ports/engine.js'
import type {
  BootstrapStatus,
  Consistency,
  CoordinatorStatus,
  FailoverRecord,
  FailoverStatus,
  FollowerStatus,
  MemberStatus,
  MetricsSnapshot,
  NodeHandle,
  NodeStatus,
  PromoteOptions,
  PromoteResult,
  ReadFreshness,
  ReadTicket,
  ShardEvent,
  ShardHandle,
  ShardMetrics,
  ShardStatus,
  SwitchoverOptions,
  SwitchoverResult,
  WriteOptions,
} from '#src/runtime/handle.js'
import type { VerifyOptions, VerifyResult } from '#src/runtime/verify-report.js'

type Pairs = Map<string, Uint8Array>

/** Keys as text of one character per byte: its order is the order of the bytes. */
const asText = (key: Uint8Array): string => Buffer.from(key).toString('latin1')
const asBytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

export class FakeNode implements NodeHandle {
  readonly name: string
  readonly cluster = 'shop'
  readonly main: FakeShard
  members: MemberStatus[] = []
  coordinator = 'static'
  closed = false

  constructor(name = 'a') {
    this.name = name
    this.main = new FakeShard(name)
  }

  shard(name = 'main'): FakeShard {
    if (name === 'main') return this.main
    throw new UnderstudyError('UNKNOWN_SHARD', `this node has no shard "${name}"`)
  }

  status(): NodeStatus {
    return {
      version: '0.1.0',
      cluster: this.cluster,
      node: this.name,
      incarnation: '00'.repeat(16),
      boot: '00'.repeat(8),
      engine: 'memory',
      advertise: undefined,
      coordinator: this.coordinator,
      startedAt: '2026-01-01T00:00:00.000Z',
      members: this.members,
      shards: [this.main.status()],
    }
  }

  metrics(): MetricsSnapshot {
    const { counters, histograms } = this.main
    return { shards: [{ shard: 'main', status: this.main.status(), counters, histograms }] }
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

export class FakeShard implements ShardHandle {
  readonly name = 'main'
  state: LifecycleState = 'primary'
  epoch: Epoch
  sequence = 0
  lagMs: number | undefined = 0
  followers: FollowerStatus[] = []
  inSync: string[]
  bootstrap: BootstrapStatus | undefined
  warnings: string[] = []
  failover: FailoverStatus = { possible: true, reason: 'b holds everything and can take over', to: 'b' }
  coordinator: CoordinatorStatus = {
    kind: 'automatic',
    connected: true,
    since: '2026-01-01T00:00:00.000Z',
    lastError: undefined,
  }
  failovers: FailoverRecord[] = []
  families: Family[] = [
    { id: 0, name: 'default' },
    { id: 1, name: 'users' },
  ]
  data = new Map<number, Pairs>([
    [0, new Map()],
    [1, new Map()],
  ])
  /** Thrown by the next calls, by their name, until taken out. */
  failures = new Map<
    | 'write'
    | 'fresh'
    | 'promote'
    | 'switchover'
    | 'verify'
    | 'verifyEnd'
    | 'removeFromInSync'
    | 'reader'
    | 'next'
    | 'beginRead'
    | 'granted',
    Error
  >()
  /** What was asked for, as the server handed it over. */
  calls: Array<{ name: string; argument: unknown }> = []
  /** Awaited by each write. */
  gate: Promise<void> = Promise.resolve()
  openSnapshots = 0
  openIterators = 0
  counters = {
    reconnects: 1,
    checksumFailures: 2,
    gaps: 3,
    fenced: 4,
    failovers: 2,
    inSyncChanges: 3,
    coordinatorErrors: 1,
    bootstrapBytes: 5,
    bootstrapRestarts: 6,
    rewoundEntries: 7,
    transitions: new Map([['catching-up>streaming', 7]]),
  }
  histograms: ShardMetrics['histograms'] = {
    commitSeconds: { bounds: [0.001, 0.01], counts: [0, 1, 0], sum: 0.002, count: 1 },
    journalFlushSeconds: { bounds: [0.001, 0.01], counts: [1, 0, 0], sum: 0.0003, count: 1 },
    applySeconds: { bounds: [0.001, 0.01], counts: [1, 0, 0], sum: 0.0001, count: 1 },
    blockEntries: { bounds: [1, 4], counts: [0, 1, 0], sum: 3, count: 1 },
  }
  readonly #listeners = new Set<(event: ShardEvent) => void>()

  constructor(node: string) {
    this.epoch = { number: 1, node }
    this.inSync = [node]
  }

  get role() {
    return roleOf[this.state]
  }

  get applied(): Position {
    return { epoch: this.epoch, sequence: this.sequence, chain: '00'.repeat(16) }
  }

  #check(
    name:
      | 'write'
      | 'fresh'
      | 'promote'
      | 'switchover'
      | 'verify'
      | 'verifyEnd'
      | 'removeFromInSync'
      | 'reader'
      | 'next'
      | 'beginRead'
      | 'granted',
    argument: unknown,
  ): void {
    this.calls.push({ name, argument })
    const failure = this.failures.get(name)
    if (failure !== undefined) throw failure
  }

  async write(operations: readonly Operation[], options: WriteOptions = {}): Promise<Position> {
    this.#check('write', options)
    await this.gate
    this.apply(operations)
    return this.applied
  }

  apply(operations: readonly Operation[]): void {
    for (const operation of operations) {
      const pairs = this.data.get(operation.family)
      if (operation.type === 'put') pairs?.set(asText(operation.key), operation.value)
      if (operation.type === 'del') pairs?.delete(asText(operation.key))
    }
    this.sequence += 1
  }

  async clear(): Promise<Position> {
    return this.applied
  }

  async createFamily(name: string): Promise<Family> {
    return { id: 1, name }
  }

  async dropFamily(): Promise<void> {}

  async ready(): Promise<void> {}

  reader() {
    this.#check('reader', undefined)
    const pairsOf = (family: number): Pairs => this.data.get(family) ?? new Map()
    return {
      kind: 'memory' as const,
      applied: this.applied,
      families: this.families,
      get: async (family: number, key: Uint8Array) => pairsOf(family).get(asText(key)),
      getMany: async (family: number, keys: readonly Uint8Array[]) =>
        keys.map((key) => pairsOf(family).get(asText(key))),
      scan: (family: number, options: ScanOptions) => this.#scan(pairsOf(family), options),
      snapshot: (): EngineSnapshot => {
        this.openSnapshots += 1
        let open = true
        return {
          position: this.applied,
          families: this.families,
          familyIdNext: 2,
          close: async () => {
            if (open) this.openSnapshots -= 1
            open = false
          },
        }
      },
    }
  }

  #scan(pairs: Pairs, options: ScanOptions): EngineIterator {
    const { start, end } = options
    const from = start === undefined ? undefined : asText(start)
    const to = end === undefined ? undefined : asText(end)
    const keys = [...pairs.keys()].sort().filter((key) => {
      if (from !== undefined && (key < from || (options.startOpen === true && key === from))) return false
      return to === undefined || key < to || (options.endClosed === true && key === to)
    })
    if (options.reverse === true) keys.reverse()
    const limited = options.limit === undefined || options.limit < 0 ? keys : keys.slice(0, options.limit)
    this.openIterators += 1
    let at = 0
    let open = true
    return {
      next: async (size) => {
        this.#check('next', size)
        const part = limited.slice(at, at + size)
        at += part.length
        return part.map((key) => [asBytes(key), pairs.get(key)!])
      },
      seek() {
        throw new Error('not used by the server')
      },
      close: async () => {
        if (open) this.openIterators -= 1
        open = false
      },
    }
  }

  beginRead(consistency?: Consistency): ReadTicket {
    this.#check('beginRead', consistency)
    const failure = this.failures.get('granted')
    return {
      isGranted: failure === undefined,
      granted: async (options) => {
        this.calls.push({ name: 'granted', argument: options })
        throw failure ?? new Error('was granted')
      },
    }
  }

  async fresh(freshness: ReadFreshness): Promise<void> {
    this.#check('fresh', freshness)
  }

  async promote(options: PromoteOptions = {}): Promise<PromoteResult> {
    this.#check('promote', options)
    this.epoch = { number: this.epoch.number + 1, node: this.epoch.node }
    this.state = 'primary'
    return { epoch: this.epoch, position: this.applied, mayLose: undefined }
  }

  async switchover(options: SwitchoverOptions = {}): Promise<SwitchoverResult> {
    this.#check('switchover', options)
    this.epoch = { number: this.epoch.number + 1, node: options.to ?? 'b' }
    this.state = 'streaming'
    return { epoch: this.epoch, primary: this.epoch.node, pauseMs: 12 }
  }

  async removeFromInSync(node: string) {
    this.#check('removeFromInSync', node)
    if (!this.inSync.includes(node)) throw new UnderstudyError('UNKNOWN_NODE', `"${node}" is not in the in-sync set`)
    this.inSync = this.inSync.filter((one) => one !== node)
    const member = (name: string) => ({ node: name, incarnation: '00'.repeat(16) })
    return {
      historyId: '00'.repeat(16),
      coordinatorId: '00'.repeat(16),
      epoch: this.epoch,
      primary: member(this.epoch.node),
      inSync: this.inSync.map(member),
      version: 2,
      settings: { durability: 'standby' as const, inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
      nonce: '00'.repeat(16),
      floor: { epoch: this.epoch, sequence: 0, chain: '00'.repeat(16) },
      lossySince: epochZero,
      handedOver: false,
      voters: [],
    }
  }

  verified: VerifyResult = {
    verdict: 'equal',
    node: 'a',
    position: { epoch: { number: 1, node: 'a' }, sequence: 7, chain: '00'.repeat(16) },
    nodes: [{ node: 'b', address: 'b:7400', state: 'equal', failure: undefined, differences: 0, more: false }],
    differences: [],
    families: 1,
    entries: 10,
    bytes: 1000,
    durationMs: 3,
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyResult> {
    const { onProgress, signal, ...rest } = options
    this.#check('verify', rest)
    onProgress?.({
      phase: 'waiting',
      family: undefined,
      entries: 0,
      bytes: 0,
      bytesExpected: undefined,
      differences: 0,
    })
    onProgress?.({
      phase: 'comparing',
      family: 'default',
      entries: 5,
      bytes: 500,
      bytesExpected: 1000,
      differences: 0,
    })
    this.#check('verifyEnd', undefined)
    if (this.verifyHangs) {
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }))
      this.calls.push({ name: 'verifyAborted', argument: undefined })
      throw new UnderstudyError('ABORTED', 'the comparison was aborted')
    }
    return this.verified
  }

  /** `verify` goes on until it is aborted. */
  verifyHangs = false

  standing(): ShardStatus {
    return this.status()
  }

  status(): ShardStatus {
    const sequence = this.sequence
    return {
      shard: this.name,
      role: this.role,
      state: this.state,
      reason: `it is ${this.state}`,
      since: '2026-01-01T00:00:00.000Z',
      historyId: '00'.repeat(16),
      epoch: this.epoch,
      promised: this.epoch,
      position: formatPosition(this.applied),
      settings: { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
      primary: { node: this.epoch.node, address: undefined },
      inSync: this.inSync,
      recordVersion: 1,
      failover: this.failover,
      coordinator: this.coordinator,
      failovers: this.failovers,
      sequence: { appended: sequence, durable: sequence, committed: sequence, applied: sequence, checkpoint: 0 },
      lagMs: this.lagMs,
      lease: undefined,
      followers: this.followers,
      slots: [{ name: 'standby-b', sequence: 1, retainedBytes: 42 }],
      journal: { bytes: 1234, segments: 1, baseSequence: 0 },
      bootstrap: this.bootstrap,
      divergentFiles: [],
      warnings: this.warnings,
    }
  }

  subscribe(listener: (event: ShardEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(event: ShardEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
