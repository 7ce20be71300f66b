import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type InMemoryCoordinator, InMemoryCoordinatorStore } from '#src/coordinator/in-memory.js'
import { createStaticCoordinator } from '#src/coordinator/static.js'
import type { Operation } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import type { Position } from '#src/core/position.js'
import type { ShardSettings } from '#src/core/record.js'
import { timingsOf } from '#src/core/timings.js'
import { levelEngine } from '#src/engine/level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { UnderstudyError } from '#src/errors.js'
import { inspectJournal, rawBlocks } from '#src/journal/inspect.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { createPinoLogger } from '#src/platform/pino-logger.js'
import type { Clock, Timer } from '#src/ports/clock.js'
import type { EngineFactory } from '#src/ports/engine.js'
import type { FileSystem } from '#src/ports/file-system.js'
import { type LogFields, type Logger, silentLogger } from '#src/ports/logger.js'
import type { Tracer } from '#src/ports/tracer.js'
import type { Transport } from '#src/ports/transport.js'
import { Node } from '#src/runtime/node.js'
import { type PowerLoss, SimulatedDisk } from '#src/sim/disk.js'
import { createInMemoryNetwork, type InMemoryNetwork } from '#src/transport/in-memory.js'

/**
 * UNDERSTUDY_TEST_ENGINE=rocksdb runs every test of whole nodes on real files with that engine; bootstraps go by chunks, as
 * those by files have tests of their own.
 */
const diskEngine: EngineFactory =
  process.env.UNDERSTUDY_TEST_ENGINE === 'rocksdb' ? { kind: 'rocksdb', open: rocksdbEngine.open } : levelEngine

export interface ClusterOptions {
  readonly nodes?: readonly string[]
  readonly initialPrimary?: string | undefined
  readonly settings?: Partial<ShardSettings>
  /** `disk`: real files and an engine on disk. `simulated`: simulated disks and the memory engine, which can be killed. */
  readonly storage?: 'disk' | 'simulated'
  /** Engines of certain nodes, instead of what `storage` says. */
  readonly engines?: Readonly<Record<string, EngineFactory>>
  readonly segmentBytes?: number
  readonly checkpointBytes?: number
  readonly slotRetainBytes?: number
  readonly writeTimeoutMs?: number
  readonly bootstrapMaxBytesPerSecond?: number
  /** `memory`: an automatic coordinator in this process; default: static, promotion by hand. */
  readonly coordinator?: 'static' | 'memory'
  /** `memory`: a node that is started now does not reach it until its weather is changed. */
  readonly coordinatorAway?: boolean
  /** Time runs so many times faster: time-outs that take seconds end within a test. */
  readonly timeFactor?: number
  /** Where the others are believed to be, if not at their addresses. */
  readonly addresses?: Readonly<Record<string, string>>
  /** What a node sends and receives through, around its own transport. */
  readonly transport?: (name: string, own: Transport) => Transport
  readonly tracer?: Tracer
  /** Instead of keeping warnings in `warnings`. */
  readonly logger?: (name: string) => Logger
}

export interface LogLine {
  readonly node: string
  readonly message: string
  readonly fields: LogFields
}

/** Whole nodes in this process: the shipped runtime over an in-memory network. */
export class TestCluster {
  readonly network: InMemoryNetwork
  readonly disks = new Map<string, SimulatedDisk>()
  private readonly processes = new Map<string, FileSystem & { kill(): void }>()
  private readonly clocks = new Map<string, MortalClock>()
  private readonly running = new Map<string, Node>()
  private readonly options: ClusterOptions
  /** With `coordinator: 'memory'`. */
  readonly store: InMemoryCoordinatorStore
  readonly coordinators = new Map<string, InMemoryCoordinator>()
  private readonly root: string
  readonly names: readonly string[]
  /** Warnings and errors of all nodes. */
  readonly warnings: LogLine[] = []

  constructor(options: ClusterOptions = {}) {
    this.options = options
    this.network = createInMemoryNetwork(options.timeFactor === undefined ? undefined : fastClock(options.timeFactor))
    this.names = options.nodes ?? ['a', 'b', 'c']
    const clock = options.timeFactor === undefined ? nodeClock : fastClock(options.timeFactor)
    this.store = new InMemoryCoordinatorStore(clock, 'c0'.repeat(16))
    this.root = mkdtempSync(join(tmpdir(), 'understudy-cluster-'))
  }

  address(name: string): string {
    return `${name}.test:7400`
  }

  directory(name: string): string {
    return this.options.storage === 'simulated' ? `/${name}` : join(this.root, name)
  }

  files(name: string): FileSystem {
    if (this.options.storage !== 'simulated') return nodeFileSystem
    const disk = this.disks.get(name) ?? new SimulatedDisk()
    this.disks.set(name, disk)
    const process = disk.process()
    this.processes.set(name, process)
    return process
  }

  async start(name: string, changes: Partial<ClusterOptions> & { readonly cluster?: string } = {}): Promise<Node> {
    const options = { ...this.options, ...changes }
    const files = this.files(name)
    const engines: EngineFactory =
      options.engines?.[name] ?? (this.options.storage === 'simulated' ? memoryEngine : diskEngine)
    const logger =
      process.env.TEST_LOG === undefined
        ? (options.logger?.(name) ?? this.listener(name))
        : createPinoLogger({ level: 'debug' }).child({ node: name })
    const clock = new MortalClock(options.timeFactor === undefined ? nodeClock : fastClock(options.timeFactor))
    this.clocks.set(name, clock)
    const node = Node.create({
      files,
      directory: this.directory(name),
      version: '0.0.0-test',
      cluster: changes.cluster ?? 'test',
      node: name,
      createIfMissing: true,
      errorIfExists: false,
      journals: createJournalFactory(files, {
        clock,
        random: nodeRandom,
        segmentBytes: options.segmentBytes ?? limits.segmentBytesMin,
      }),
      engines,
      clock,
      random: nodeRandom,
      logger,
      coordinator:
        options.coordinator === 'memory'
          ? this.coordinatorOf(name, clock, options.coordinatorAway)
          : this.staticOf(name, options),
      transport: (options.transport ?? ((_name, own) => own))(name, this.network.transport(this.address(name))),
      ...(options.tracer === undefined ? {} : { tracer: options.tracer }),
      shards: [
        {
          name: 'main',
          advertise: () => this.address(name),
          settings: {
            durability: 'standby',
            inSyncMin: Math.min(2, this.names.length),
            failoverMs: limits.failoverMs,
            inSyncTimeoutMs: limits.inSyncTimeoutMs,
            ...options.settings,
          },
          checkpointBytes: options.checkpointBytes ?? limits.checkpointBytes,
          checkpointIntervalMs: limits.checkpointIntervalMs,
          slotRetainBytes: options.slotRetainBytes ?? limits.slotRetainBytesMax,
          writeTimeoutMs: options.writeTimeoutMs ?? limits.writeTimeoutMs,
          bootstrapMaxBytesPerSecond: options.bootstrapMaxBytesPerSecond,
        },
      ],
    })
    await node.start()
    this.running.set(name, node)
    return node
  }

  private staticOf(name: string, options: ClusterOptions) {
    return createStaticCoordinator({
      node: name,
      members: (options.nodes ?? this.names).map((node) => ({
        node,
        address: options.addresses?.[node] ?? this.address(node),
      })),
      initialPrimary: 'initialPrimary' in options ? options.initialPrimary : this.names[0],
    })
  }

  private coordinatorOf(name: string, clock: Clock, isAway = false): InMemoryCoordinator {
    const { failoverMs = limits.failoverMs, inSyncTimeoutMs = limits.inSyncTimeoutMs } = this.options.settings ?? {}
    const { registrationMs } = timingsOf({ failoverMs, inSyncTimeoutMs })
    const client = this.store.client({ clock, registrationMs })
    if (isAway) client.setWeather({ reachable: false })
    this.coordinators.set(name, client)
    return client
  }

  async startAll(): Promise<void> {
    for (const name of this.names) await this.start(name)
  }

  node(name: string): Node {
    const node = this.running.get(name)
    if (node === undefined) throw new Error(`${name} is not running`)
    return node
  }

  shard(name: string) {
    return this.node(name).shard()
  }

  async stop(name: string): Promise<void> {
    const node = this.running.get(name)
    this.running.delete(name)
    await node?.close()
  }

  /** As a kill -9: nothing that the node still does has an effect. Simulated storage only. */
  kill(name: string): void {
    this.processes.get(name)!.kill()
    this.clocks.get(name)?.kill()
    this.coordinators.get(name)?.setWeather({ reachable: false })
    this.network.crash(this.address(name))
    this.running.delete(name)
  }

  /** The disk of a node. Simulated storage only. */
  disk(name: string): SimulatedDisk {
    const disk = this.disks.get(name)
    if (disk === undefined) throw new Error(`${name} has no simulated disk`)
    return disk
  }

  /** Power loss at one node: its process ends, and of what was not synced only what is kept is there afterwards. */
  losePower(name: string, keep: PowerLoss['keep'] = 'none'): void {
    this.kill(name)
    this.disk(name).crash({ keep })
  }

  /** Nothing passes between `name` and all others. */
  isolate(name: string): void {
    for (const other of this.names) if (other !== name) this.network.partition(this.address(name), this.address(other))
  }

  /** The node's clock is suddenly so much later: what its process finds after it stood still. */
  jump(name: string, aheadMs: number): void {
    this.clocks.get(name)!.aheadMs += aheadMs
  }

  /** Warnings and errors go to `warnings`, the rest nowhere. */
  private listener(node: string): Logger {
    const hear = (fields: LogFields, message: string) => {
      this.warnings.push({ node, message, fields })
    }
    const logger: Logger = { ...silentLogger, warn: hear, error: hear, child: () => logger }
    return logger
  }

  async close(): Promise<void> {
    this.network.heal()
    // Nodes that stop together have nobody to hand over to: where they can be killed, they are.
    if (this.options.coordinator === 'memory' && this.options.storage === 'simulated') {
      for (const name of [...this.running.keys()]) this.kill(name)
    }
    await Promise.all([...this.running.keys()].map((name) => this.stop(name)))
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** The clock of one process: when that is killed, none of its timers fires any more. */
class MortalClock implements Clock {
  private readonly clock: Clock
  private readonly timers = new Set<Timer>()
  private dead = false
  aheadMs = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  nowMs(): number {
    return this.clock.nowMs() + this.aheadMs
  }

  wallMs(): number {
    return this.clock.wallMs()
  }

  setTimer(delayMs: number, fn: () => void, options?: { readonly keepsAlive?: boolean }): Timer {
    if (this.dead) return { cancel() {} }
    const fire = () => {
      this.timers.delete(timer)
      fn()
    }
    const timer = this.clock.setTimer(delayMs, fire, options)
    this.timers.add(timer)
    return {
      cancel: () => {
        this.timers.delete(timer)
        timer.cancel()
      },
    }
  }

  defer(fn: () => void): void {
    this.clock.defer(() => {
      if (!this.dead) fn()
    })
  }

  kill(): void {
    this.dead = true
    for (const timer of this.timers) timer.cancel()
    this.timers.clear()
  }
}

/** The system's time, so many times faster. */
export function fastClock(factor: number): Clock {
  return {
    nowMs: () => nodeClock.nowMs() * factor,
    wallMs: nodeClock.wallMs,
    setTimer: (delayMs, fn, options) => nodeClock.setTimer(delayMs / factor, fn, options),
    defer: nodeClock.defer,
  }
}

/** Runs a test over a cluster and closes it whatever happens. */
export async function withCluster(
  options: ClusterOptions,
  work: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = new TestCluster(options)
  try {
    await work(cluster)
  } finally {
    await cluster.close()
  }
}

export function put(key: string, value: string, family = 0): Operation {
  return { type: 'put', family, key: Buffer.from(key), value: Buffer.from(value) }
}

export async function read(cluster: TestCluster, name: string, key: string): Promise<string | undefined> {
  const value = await cluster.shard(name).reader().get(0, Buffer.from(key))
  return value === undefined ? undefined : Buffer.from(value).toString()
}

export function value(text: string, bytes: number): string {
  return text.padEnd(bytes, '.')
}

/** Bytes of all blocks of a stopped node's journal, from sequence `from` on. */
export async function journalBytes(cluster: TestCluster, name: string, from = 0): Promise<Buffer> {
  const blocks: Uint8Array[] = []
  for await (const block of rawBlocks(cluster.files(name), journalDirectory(cluster, name), from)) blocks.push(block)
  return Buffer.concat(blocks)
}

function journalDirectory(cluster: TestCluster, name: string): string {
  return `${cluster.directory(name)}/shards/main/current/journal`
}

/** Sequence before the first block of a stopped node's journal. */
async function journalBase(cluster: TestCluster, name: string): Promise<number> {
  for await (const record of inspectJournal(cluster.files(name), journalDirectory(cluster, name))) {
    if (record.type === 'segment') return record.header.base.sequence
  }
  return assert.fail(`${name} has no journal`)
}

/** Stops the nodes, and compares what all of them have kept: each trims on its own, until it has stopped. */
export async function sameJournals(cluster: TestCluster, names: readonly string[]): Promise<void> {
  for (const name of names) await cluster.stop(name)
  const bases = await Promise.all(names.map((name) => journalBase(cluster, name)))
  const from = Math.max(...bases) + 1
  const expected = await journalBytes(cluster, names[0]!, from)
  assert.ok(expected.length > 0, 'something is compared')
  for (const name of names) {
    const bytes = await journalBytes(cluster, name, from)
    assert.ok(bytes.equals(expected), `I3, J5: journal of ${name} from ${from} on`)
  }
}

/** All keys and values of a family, as this node has them. */
export async function contentOf(cluster: TestCluster, name: string, family = 0): Promise<Array<[string, string]>> {
  const iterator = cluster.shard(name).reader().scan(family, {})
  const all: Array<[string, string]> = []
  try {
    for (;;) {
      const some = await iterator.next(1000)
      if (some.length === 0) return all
      for (const [key, found] of some) all.push([Buffer.from(key).toString(), Buffer.from(found).toString()])
    }
  } finally {
    await iterator.close()
  }
}

/** The coded error that a promise rejects with. */
export async function failureOf(work: Promise<unknown>): Promise<UnderstudyError> {
  try {
    const result = await work
    throw new Error(`expected a failure, got ${JSON.stringify(result)}`)
  } catch (error) {
    if (error instanceof UnderstudyError) return error
    throw error
  }
}

/** Waits for a state, looking again whenever the event loop comes round; fails with what it saw last. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = 30_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    if (await holds()) return
    if (performance.now() > endMs)
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function untilInSync(cluster: TestCluster, primary: string, names: readonly string[]): Promise<void> {
  await until(
    () => {
      const status = cluster.shard(primary).status()
      return (
        status.state === 'primary' &&
        names.every((name) => status.inSync.includes(name)) &&
        status.inSync.length === names.length
      )
    },
    () =>
      `${primary} primary with ${names.join(', ')} in sync; statuses ${JSON.stringify(cluster.names.map((name) => safeStatus(cluster, name)))}`,
  )
}

function safeStatus(cluster: TestCluster, name: string): unknown {
  try {
    const { state, reason, inSync, sequence, warnings } = cluster.shard(name).status()
    return { name, state, reason, inSync, sequence, warnings }
  } catch {
    return { name, state: 'down' }
  }
}

export async function untilApplied(cluster: TestCluster, names: readonly string[], position: Position): Promise<void> {
  for (const name of names) await cluster.shard(name).fresh({ minPosition: position, timeoutMs: 15_000 })
}
