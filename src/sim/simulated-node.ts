/** One node of a simulated cluster: its disk, and the process that runs on it, if one does. */
import { BuiltinCoordinator } from '../coordinator/builtin/client.js'
import { remoteChannel } from '../coordinator/builtin/remote-channel.js'
import { Voter } from '../coordinator/builtin/voter.js'
import type { InMemoryCoordinator, InMemoryCoordinatorStore, InMemoryWeather } from '../coordinator/in-memory.js'
import { createStaticCoordinator } from '../coordinator/static.js'
import { limits } from '../core/limits.js'
import { timingsOf } from '../core/timings.js'
import { createJournalFactory } from '../journal/journal-factory.js'
import type { Coordinator } from '../ports/coordinator.js'
import type { FileSystem } from '../ports/file-system.js'
import { Node } from '../runtime/node.js'
import { Witness } from '../runtime/witness.js'
import { SimulatedDisk } from './disk.js'
import type { SeededRandom } from './seeded-random.js'
import { type EngineWatch, SimulatedStores } from './simulated-engine.js'
import type { SimulatedProcess } from './simulated-process.js'
import type { World } from './world.js'

export const clusterName = 'sim'
export const witnessName = 'w'
const version = '0.0.0-sim'
const cachedShare = 0.6

/** What runs on a node between a start and its end. */
export interface Run {
  readonly number: number
  readonly process: SimulatedProcess
  readonly files: FileSystem & { kill(): void }
  readonly address: string
  readonly node: Node | Witness
  readonly coordinator: InMemoryCoordinator | undefined
  /** `start` has come back: the node takes requests. */
  started: boolean
  /** Why the process has ended, or is about to. */
  ended: string | undefined
}

export interface NodeHooks {
  readonly store: InMemoryCoordinatorStore
  /** What is between a node and the coordinator now. */
  weather(name: string): InMemoryWeather
  watch(name: string, run: number): EngineWatch
  onStarted(one: SimulatedNode, run: Run): void
  onStartFailed(one: SimulatedNode, run: Run, error: Error): void
  onEnded(one: SimulatedNode, run: Run): void
  /** It was to stop within this time, and has not. */
  onOverdue(one: SimulatedNode, withinMs: number): void
}

export class SimulatedNode {
  readonly name: string
  readonly disk = new SimulatedDisk()
  readonly directory = '/data'
  run: Run | undefined
  /** Everything takes so many times longer. */
  slowness = 1
  private readonly stores = new SimulatedStores()
  private readonly world: World
  private readonly hooks: NodeHooks
  /** Tells machines apart. */
  readonly label: string
  private readonly engineRandom: SeededRandom
  private runs = 0

  /** `label` names a second machine that pretends to be the first; its address differs. */
  constructor(world: World, name: string, hooks: NodeHooks, label = name) {
    this.world = world
    this.name = name
    this.hooks = hooks
    this.label = label
    this.engineRandom = world.streams.of(`engine of ${label}`)
    const random = world.streams.of(`disk of ${label}`)
    const { syncMsMin, syncMsMax } = world.plan.disk
    this.disk.latency = (operation) => {
      const running = this.run?.process
      if (running === undefined) return undefined
      const syncs = operation === 'sync' || operation === 'datasync' || operation === 'syncDirectory'
      // What the page cache answers is mostly there at once.
      if (!syncs && random.chance(cachedShare)) return undefined
      const ms = (syncs ? random.skewed(syncMsMin, syncMsMax) : random.next() * 0.1) * this.slowness
      return new Promise((resolve) => void running.after(ms, resolve))
    }
  }

  get address(): string {
    return `${this.label}.test:7400`
  }

  get isWitness(): boolean {
    return this.name === witnessName
  }

  /** The node, where it takes requests now. */
  get serving(): Node | undefined {
    const { run } = this
    return run?.started === true && run.ended === undefined && run.node instanceof Node ? run.node : undefined
  }

  start(): void {
    if (this.run !== undefined) return
    const { world, label } = this
    this.runs += 1
    const process = world.process(label)
    const run = this.create(process)
    this.run = run
    world.trace.story(label, `starts, process ${run.number}`)
    run.node.start().then(
      () => {
        if (process.isDead) return
        run.started = true
        world.trace.story(label, 'is up')
        this.hooks.onStarted(this, run)
      },
      (error: Error) => {
        if (process.isDead) return
        world.trace.story(label, `cannot start: ${error.message}`)
        this.end('could not start')
        this.hooks.onStartFailed(this, run, error)
      },
    )
  }

  /** As a kill -9: nothing that the process still does has an effect. */
  end(why: string): void {
    const { run, world } = this
    if (run === undefined) return
    world.trace.story(this.label, `ends: ${why}`)
    run.ended = why
    this.run = undefined
    run.files.kill()
    run.process.kill()
    run.coordinator?.setWeather({ reachable: false })
    world.links.network.crash(run.address)
    this.hooks.onEnded(this, run)
  }

  losePower(why: string): void {
    const random = this.world.streams.of(`power loss ${this.world.time.events} of ${this.label}`)
    this.end(why)
    const share = random.pick([0, 0.5, random.next(), 1])
    this.disk.crash({ keep: () => random.chance(share), sectors: random.chance(0.5) })
    this.stores.losePower((unproven) => random.below(unproven + 1))
  }

  /** An orderly stop; the process is gone when it is over, or has taken too long, which is told. */
  stop(withinMs: number): void {
    const { run, world } = this
    if (run === undefined || run.ended !== undefined) return
    run.ended = 'is stopped'
    world.trace.story(this.label, 'is stopped')
    const gone = () => {
      if (this.run === run) this.end('stopped')
    }
    run.process.after(0, () => {
      run.node.close().then(gone, (error: Error) => {
        world.trace.story(this.label, `close failed: ${error.message}`)
        gone()
      })
    })
    world.time.schedule(withinMs, () => {
      if (this.run !== run) return
      this.hooks.onOverdue(this, withinMs)
      this.end('did not stop in time')
    })
  }

  wipe(): void {
    this.end('wiped')
    this.disk.wipe()
    this.world.trace.story(this.label, 'has an empty disk')
  }

  private create(process: SimulatedProcess): Run {
    const { world, name, address } = this
    const { plan } = world
    const files = this.disk.process()
    const transport = world.links.network.transport(address)
    const random = world.streams.of(`random ${this.runs} of ${this.label}`)
    const logger = world.logger(this.label)
    const run: Omit<Run, 'node' | 'coordinator'> = {
      number: this.runs,
      process,
      files,
      address,
      started: false,
      ended: undefined,
    }
    const journals = (segmentBytes: number) =>
      createJournalFactory(files, { clock: process, random, logger, segmentBytes })
    if (this.isWitness) {
      const voter = new Voter({
        files,
        journals: journals(limits.segmentBytesMin),
        clock: process,
        random,
        logger,
        directory: this.directory,
        cluster: clusterName,
        voter: name,
        address,
        witness: true,
      })
      const node = new Witness({
        files,
        directory: this.directory,
        version,
        cluster: clusterName,
        node: name,
        clock: process,
        random,
        logger,
        transport,
        voter,
        coordinator: `builtin://${name}=${address}`,
        advertise: () => address,
        createIfMissing: true,
        errorIfExists: false,
      })
      return Object.assign(run, { node, coordinator: undefined })
    }
    const { registrationMs } = timingsOf(plan.settings)
    const inMemory =
      plan.coordinator === 'memory' ? this.hooks.store.client({ clock: process, registrationMs }) : undefined
    inMemory?.setWeather(this.hooks.weather(name))
    const coordinator: Coordinator =
      inMemory ??
      (plan.coordinator === 'static'
        ? createStaticCoordinator({
            node: name,
            members: plan.nodes.map((node) => ({ node, address: `${node}.test:7400` })),
            initialPrimary: plan.nodes[0],
          })
        : new BuiltinCoordinator({
            description: 'builtin',
            voters: [witnessName],
            open: remoteChannel({
              voters: [{ node: witnessName, address: `${witnessName}.test:7400` }],
              cluster: clusterName,
              node: name,
              boot: random.hex(8),
              transport,
              clock: process,
              silenceMs: registrationMs / 3,
            }),
            clock: process,
            random,
            logger,
            registrationMs,
          }))
    const engines = this.stores.factory(
      files,
      {
        pass: (operation) => this.engineTime(process, operation),
        chunkBytes: plan.chunkBytes,
        hasFiles: plan.nodesWithFiles.includes(name),
      },
      this.hooks.watch(name, this.runs),
    )
    const node = Node.create({
      files,
      directory: this.directory,
      version,
      cluster: clusterName,
      node: name,
      createIfMissing: true,
      errorIfExists: false,
      journals: journals(plan.segmentBytes),
      engines,
      clock: process,
      random,
      logger,
      coordinator,
      transport,
      shards: [
        {
          name: 'main',
          advertise: () => address,
          settings: plan.settings,
          checkpointBytes: plan.checkpointBytes,
          checkpointIntervalMs: 5_000,
          slotRetainBytes: plan.slotRetainBytes,
          writeTimeoutMs: plan.writeTimeoutMs,
          bootstrapMaxBytesPerSecond:
            plan.bootstrapMs === undefined
              ? undefined
              : Math.ceil((1_000 * plan.keys * (plan.valueBytes + 20)) / plan.bootstrapMs),
        },
      ],
    })
    return Object.assign(run, { node, coordinator: inMemory })
  }

  /** Most engine operations take next to nothing; some take a while. */
  private engineTime(process: SimulatedProcess, operation: 'read' | 'apply' | 'sync'): Promise<void> | undefined {
    const random = this.engineRandom
    const ms = operation === 'sync' ? random.skewed(1, 20) : random.chance(0.2) ? random.skewed(0.02, 5) : undefined
    if (process.isDead) return new Promise<never>(() => {})
    return ms === undefined ? undefined : new Promise((resolve) => void process.after(ms * this.slowness, resolve))
  }
}
