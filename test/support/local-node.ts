import { access, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeBlock } from '#src/codec/block.js'
import { chainZero } from '#src/codec/digest.js'
import type { Block, Family, Operation } from '#src/core/entry.js'
import type { LifecycleState, Role } from '#src/core/lifecycle.js'
import { limits } from '#src/core/limits.js'
import { epochZero, type Position } from '#src/core/position.js'
import type { NodeStarter } from '#src/database/options.js'
import { UnderstudyError } from '#src/errors.js'
import type { Engine, EngineFactory } from '#src/ports/engine.js'
import type {
  ClearRequest,
  Consistency,
  EngineReader,
  NodeHandle,
  NodeStatus,
  PromoteResult,
  ReadFreshness,
  ReadTicket,
  ShardEvent,
  ShardHandle,
  ShardStatus,
  SwitchoverOptions,
  SwitchoverResult,
  WriteOptions,
} from '#src/runtime/handle.js'

interface QueuedWrite {
  readonly operations: readonly Operation[]
  readonly resolve: (position: Position) => void
  readonly reject: (error: unknown) => void
}

const epoch = { number: 1, node: 'local' }
const origin = { node: 'local', boot: '00000000000000aa' }

/** A shard without journal and standbys: real blocks, in order, on a real engine. */
export class LocalShard implements ShardHandle {
  readonly name = 'main'
  role: Role = 'primary'
  state: LifecycleState = 'primary'
  /** What callers passed with their writes, for tests to look at. */
  readonly writeOptions: Array<WriteOptions | undefined> = []
  lagMs = 0
  readonly switchovers: SwitchoverOptions[] = []
  switchoverFailure: UnderstudyError | undefined
  /** The journal, for engines that need all of it. */
  private readonly journal: Block[]
  private readonly engine: Engine
  private queue: QueuedWrite[] = []
  private pumping: Promise<void> | undefined
  private readonly waiting = new Set<() => void>()
  private readonly listeners = new Set<(event: ShardEvent) => void>()

  constructor(engine: Engine, journal: Block[]) {
    this.engine = engine
    this.journal = journal
  }

  get applied(): Position {
    return this.engine.applied
  }

  write(operations: readonly Operation[], options?: WriteOptions): Promise<Position> {
    if (options !== undefined) this.writeOptions.push(options)
    return new Promise((resolve, reject) => {
      this.queue.push({ operations, resolve, reject })
      this.pumping ??= this.pump()
    })
  }

  private async pump(): Promise<void> {
    // A tick later, so that what is written together is one block.
    await Promise.resolve()
    while (this.queue.length > 0) {
      const known = new Set(this.engine.families.map(({ id }) => id))
      const writes: QueuedWrite[] = []
      for (const write of this.queue.splice(0, 1024)) {
        const stranger = write.operations.find(({ type, family }) => type !== 'createFamily' && !known.has(family))
        if (stranger === undefined) writes.push(write)
        else write.reject(new UnderstudyError('UNKNOWN_FAMILY', `there is no family ${stranger.family}`))
      }
      if (writes.length > 0) await this.commit(writes)
    }
    this.pumping = undefined
  }

  private async commit(writes: readonly QueuedWrite[]): Promise<void> {
    const { sequence, chain } = this.engine.applied
    try {
      const block = encodeBlock({
        epoch,
        firstSequence: sequence + 1,
        timestampMs: Date.now(),
        committed: sequence,
        flushedBefore: sequence,
        chainBefore: chain,
        epochStart: false,
        entries: writes.map(({ operations }, index) => ({ origin, request: sequence + 1 + index, operations })),
      })
      await this.engine.apply([block])
      if (this.engine.volatile) this.journal.push(block)
      for (const { resolve } of writes) resolve(block.end)
      for (const wake of this.waiting) wake()
    } catch (error) {
      for (const { reject } of writes) reject(error)
    }
  }

  async clear(request: ClearRequest, options?: WriteOptions): Promise<Position> {
    const { family, ...range } = request
    const iterator = this.engine.scan(family, { ...range, values: false })
    try {
      for (;;) {
        const entries = await iterator.next(limits.clearPieceKeysMax)
        if (entries.length === 0) return this.engine.applied
        await this.write(
          entries.map(([key]) => ({ type: 'del', family, key })),
          options,
        )
      }
    } finally {
      await iterator.close()
    }
  }

  async createFamily(name: string, options?: WriteOptions): Promise<Family> {
    const existing = this.engine.families.find((family) => family.name === name)
    if (existing !== undefined) return existing
    const family = { id: this.engine.familyIdNext, name }
    await this.write([{ type: 'createFamily', family: family.id, name }], options)
    return family
  }

  async dropFamily(name: string, options?: WriteOptions): Promise<void> {
    const family = this.engine.families.find((each) => each.name === name)
    if (family === undefined) throw new UnderstudyError('UNKNOWN_FAMILY', `there is no family "${name}"`)
    await this.write([{ type: 'dropFamily', family: family.id }], options)
  }

  reader(): EngineReader {
    return this.engine
  }

  /** What reads are granted by, for tests to replace; and what was asked for. */
  ticket: ReadTicket = { isGranted: true, granted: () => Promise.resolve() }
  readonly consistencies: Array<Consistency | undefined> = []

  beginRead(consistency?: Consistency): ReadTicket {
    this.consistencies.push(consistency)
    return consistency === 'local' ? { isGranted: true, granted: () => Promise.resolve() } : this.ticket
  }

  async fresh(freshness: ReadFreshness): Promise<void> {
    const { minPosition, maxLagMs, signal, timeoutMs } = freshness
    if (maxLagMs !== undefined && this.lagMs > maxLagMs) {
      throw new UnderstudyError('LAG_EXCEEDED', `${this.lagMs} ms behind; at most ${maxLagMs} ms were asked for`)
    }
    if (minPosition === undefined) return
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), timeoutMs ?? 1000)
    const ended = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal])
    try {
      while (this.engine.applied.sequence < minPosition.sequence) {
        if (signal?.aborted === true) throw new UnderstudyError('ABORTED', 'the wait was aborted')
        if (ended.aborted) throw new UnderstudyError('TIMEOUT', `position ${minPosition.sequence} is not here`)
        await this.change(ended)
      }
    } finally {
      clearTimeout(timer)
    }
  }

  private change(ended: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.waiting.delete(wake)
        ended.removeEventListener('abort', wake)
        resolve()
      }
      this.waiting.add(wake)
      ended.addEventListener('abort', wake)
    })
  }

  async ready(): Promise<void> {}

  async promote(): Promise<PromoteResult> {
    return { epoch, position: this.engine.applied, mayLose: undefined }
  }

  async switchover(options: SwitchoverOptions = {}): Promise<SwitchoverResult> {
    if (this.switchoverFailure !== undefined) throw this.switchoverFailure
    this.switchovers.push(options)
    const primary = options.to ?? 'c'
    return { epoch: { number: 2, node: primary }, primary, pauseMs: 12 }
  }

  async removeFromInSync(): Promise<never> {
    throw new UnderstudyError('BAD_REQUEST', 'a local node has no in-sync set')
  }

  async verify(): Promise<never> {
    throw new UnderstudyError('VERIFY_REFUSED', 'a local node knows no other node to compare with')
  }

  standing(): ShardStatus {
    return this.status()
  }

  status(): ShardStatus {
    const { sequence } = this.engine.applied
    return {
      shard: this.name,
      role: this.role,
      state: this.state,
      reason: 'a node in a test',
      since: new Date(0).toISOString(),
      historyId: undefined,
      epoch,
      promised: epoch,
      position: undefined,
      settings: { durability: 'local', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 },
      primary: undefined,
      inSync: ['local'],
      recordVersion: undefined,
      failover: { possible: false, reason: 'a local node has no standby', to: undefined },
      coordinator: { kind: 'static', connected: true, since: undefined, lastError: undefined },
      failovers: [],
      lease: undefined,
      sequence: { appended: sequence, durable: sequence, committed: sequence, applied: sequence, checkpoint: 0 },
      lagMs: this.lagMs,
      followers: [],
      slots: [],
      journal: { bytes: 0, segments: 0, baseSequence: 0 },
      bootstrap: undefined,
      divergentFiles: [],
      warnings: [],
    }
  }

  subscribe(listener: (event: ShardEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Tells the listeners, as the runtime would. */
  tell(event: ShardEvent): void {
    for (const listener of this.listeners) listener(event)
  }

  async settle(): Promise<void> {
    await this.pumping
  }
}

export class LocalNode implements NodeHandle {
  readonly name = 'local'
  readonly cluster = 'test'
  readonly main: LocalShard
  private readonly engine: Engine

  constructor(engine: Engine, journal: Block[]) {
    this.engine = engine
    this.main = new LocalShard(engine, journal)
  }

  shard(name = 'main'): LocalShard {
    if (name !== 'main') throw new UnderstudyError('UNKNOWN_SHARD', `there is no shard "${name}"`)
    return this.main
  }

  status(): NodeStatus {
    return {
      version: '0.0.0',
      cluster: this.cluster,
      node: this.name,
      incarnation: '0'.repeat(32),
      boot: origin.boot,
      engine: this.engine.kind,
      advertise: undefined,
      coordinator: 'none',
      startedAt: new Date(0).toISOString(),
      members: [],
      shards: [this.main.status()],
    }
  }

  metrics(): never {
    throw new UnderstudyError('BAD_REQUEST', 'a local node has no metrics')
  }

  async close(): Promise<void> {
    await this.main.settle()
    await this.engine.close()
  }
}

/** Starts local nodes on an engine; a file in the directory says that the database exists. */
export function localStarter(factory: EngineFactory, started?: (node: LocalNode) => void): NodeStarter {
  const journals = new Map<string, Block[]>()
  return async (location, options) => {
    const marker = join(location, 'exists')
    const exists = await access(marker).then(
      () => true,
      () => false,
    )
    if (!exists && options.createIfMissing === false) throw new UnderstudyError('CONFIG', `${location} does not exist`)
    if (exists && options.errorIfExists === true) throw new UnderstudyError('CONFIG', `${location} exists`)
    await mkdir(location, { recursive: true })
    await writeFile(marker, '')
    const empty = { epoch: epochZero, sequence: 0, chain: chainZero('0'.repeat(32), 'main') }
    const journal = journals.get(location) ?? []
    journals.set(location, journal)
    const engine = await factory.open(join(location, 'engine'), empty)
    await engine.apply(journal)
    const node = new LocalNode(engine, journal)
    started?.(node)
    return node
  }
}
