/** All nodes of a run, who looks after them, and what is checked while they work. */
import { InMemoryCoordinatorStore } from '../coordinator/in-memory.js'
import { compareEpochs, epochZero, formatEpoch, type Position, sameEpoch } from '../core/position.js'
import { sameMember } from '../core/record.js'
import type { UnderstudyError } from '../errors.js'
import type { ShardStanding } from '../runtime/handle.js'
import type { Node } from '../runtime/node.js'
import { CoordinatorPast } from './coordinator-past.js'
import { CoordinatorWeather } from './coordinator-weather.js'
import { nodesThatHold } from './durability-audit.js'
import { Oracle } from './oracle.js'
import type { SeededRandom } from './seeded-random.js'
import { type NodeHooks, type Run, SimulatedNode, witnessName } from './simulated-node.js'
import type { World } from './world.js'

const watchEveryMs = 300
const restartMsMin = 200
const restartMsMax = 3_000
/** Some stay away long enough for the others to go on without them. */
const absentMsMax = 9_000
const absentShare = 0.25
/** Of the writes that a primary answers, so many are looked for on the disks. */
const auditShare = 0.03
const freshMs = 3_000
const freshAuditShare = 0.25
const stopMsMax = 30_000
const forceMsMax = 10_000

export class SimulatedCluster {
  readonly world: World
  readonly nodes: readonly SimulatedNode[]
  readonly witness: SimulatedNode | undefined
  readonly store: InMemoryCoordinatorStore
  readonly oracle: Oracle
  /** Called when a process ends: what its clients wait for never comes. */
  readonly endListeners = new Set<(run: Run) => void>()
  /** Content that nobody could read before can be read: after a start, a bootstrap or a rewind. */
  readonly readableListeners = new Set<(one: SimulatedNode) => void>()
  /** Nodes whose disk was damaged on purpose: they may report it. */
  readonly damaged = new Set<string>()
  /** How often an engine was opened from files that a bootstrap had brought. */
  installedFiles = 0
  readonly weather: CoordinatorWeather
  readonly past: CoordinatorPast
  /** Machines that pretend to be one of the nodes. */
  private readonly seconds = new Set<SimulatedNode>()
  private readonly hooks: NodeHooks
  private whole = true
  /** Nodes that stay down until somebody starts them. */
  readonly held = new Set<string>()
  private readonly random: SeededRandom
  private readonly audits: SeededRandom
  private secondCount = 1

  constructor(world: World) {
    this.world = world
    const { plan, time } = world
    this.random = world.streams.of('supervisor')
    this.audits = world.streams.of('audits')
    const storeProcess = world.process('coordinator')
    this.store = new InMemoryCoordinatorStore(storeProcess, 'c0'.repeat(16))
    this.oracle = new Oracle(plan.settings.durability, () => time.nowMs, plan.coordinator === 'static')
    this.watchSwaps()
    const { oracle } = this
    this.hooks = {
      store: this.store,
      weather: (name) => this.weather.of(name),
      watch: (name) => ({
        onApply: (applied, blocks) => oracle.apply(name, applied, blocks),
        onApplied: (applied) => oracle.applied(applied),
        onRewind: (from, to) => {
          world.trace.story(name, `rewinds to ${to.sequence}`)
          oracle.rewind(name, from, to)
        },
        onFiles: (position) => {
          this.installedFiles += 1
          world.trace.story(name, `opens the files of a checkpoint at ${position.sequence}`)
        },
        onInstall: (position) => world.trace.story(name, `installs a bootstrap at ${position.sequence}`),
      }),
      onStarted: (one, run) => this.listen(one, run),
      onStartFailed: (one, _run, error) => this.afterFailure(one, error),
      onEnded: (one, run) => {
        for (const listener of this.endListeners) listener(run)
        // What it had sent may still arrive.
        if (this.forcing.has(run)) time.schedule(forceMsMax, () => this.forcing.delete(run))
        if (this.looksAfter(one)) this.restartSoon(one)
      },
      onOverdue: (one, withinMs) => oracle.problems.add(`I8: ${one.name} has not stopped within ${withinMs} ms`),
    }
    this.nodes = plan.nodes.map((name) => new SimulatedNode(world, name, this.hooks))
    this.witness = plan.coordinator === 'builtin' ? new SimulatedNode(world, witnessName, this.hooks) : undefined
    this.weather = new CoordinatorWeather(this.nodes)
    this.past = new CoordinatorPast(this)
    const watch = () => {
      this.watch()
      time.schedule(watchEveryMs, watch)
    }
    time.schedule(watchEveryMs, watch)
  }

  /** Every disk holds what it should, and every node is in the set. */
  get isWhole(): boolean {
    return this.whole && this.damaged.size === 0 && this.forcing.size === 0
  }

  /** A promotion is about to be forced; what is returned says that it is over. Until all have followed nothing is whole. */
  force(run: Run): () => void {
    this.forcing.add(run)
    this.whole = false
    return () => this.forcing.delete(run)
  }
  private readonly forcing = new Set<Run>()

  /** A disk is about to lose something. */
  harm(one: SimulatedNode): void {
    this.damaged.add(one.name)
    this.whole = false
  }

  /** What an operator does where nobody else decides: nobody leads, so one node after the other is asked to. */
  promoteSomebody(): void {
    if (this.world.plan.coordinator !== 'static' || this.primary !== undefined) return
    const one = this.nodes[this.promotions++ % this.nodes.length]!
    const { run, serving } = one
    if (serving === undefined || run === undefined) return
    this.world.trace.story('operator', `promotes ${one.name}`)
    run.process.after(0, () => {
      serving
        .shard()
        .promote()
        .catch((error: Error) => {
          if (!run.process.isDead) this.world.trace.story('operator', `${one.name}: ${error.message}`)
        })
    })
  }
  private promotions = 0

  addSecond(name: string): SimulatedNode | undefined {
    // It may take the place of the first in the set, and is lost with what it holds.
    if (!this.isWhole) return undefined
    this.whole = false
    this.secondCount += 1
    const second = new SimulatedNode(this.world, name, this.hooks, `${name}${this.secondCount}`)
    this.seconds.add(second)
    return second
  }

  removeSecond(second: SimulatedNode): void {
    this.seconds.delete(second)
    second.end('was a mistake')
  }

  private looksAfter(one: SimulatedNode): boolean {
    return !this.held.has(one.name) && !this.seconds.has(one) && this.all.includes(one)
  }

  get all(): readonly SimulatedNode[] {
    return this.witness === undefined ? this.nodes : [...this.nodes, this.witness]
  }

  node(name: string): SimulatedNode {
    const found = this.all.find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no node ${name}`)
    return found
  }

  startAll(): void {
    for (const one of this.all) this.world.time.schedule(this.random.between(0, 500), () => one.start())
  }

  stopAll(): void {
    for (const one of this.all) {
      this.held.add(one.name)
      one.stop(stopMsMax)
    }
  }

  /** Ready to take writes, and not standing still. */
  get primary(): SimulatedNode | undefined {
    return this.nodes.find((one) => {
      const shard = one.serving?.shard()
      return shard?.state === 'primary' && one.run?.process.isStill !== true
    })
  }

  standingOf(one: SimulatedNode): ShardStanding | undefined {
    return one.serving?.shard().standing()
  }

  /** Undefined once all is as it should be without faults; until then what is missing. */
  whatIsMissing(): string | undefined {
    const statuses = this.nodes.map((one) => this.standingOf(one))
    const primaries = statuses.filter((status) => status?.state === 'primary')
    const all = () =>
      this.nodes
        .map(({ name }, index) => {
          const status = statuses[index]
          return `${name} ${status === undefined ? 'is down' : `${status.state} at ${status.sequence.applied} (${status.reason})`}`
        })
        .join('; ')
    // Without it the set cannot change, nor a switchover that waits for its answer end.
    if (this.witness !== undefined && this.witness.run?.started !== true)
      return `${this.witness.name} is down: ${all()}`
    const [primary] = primaries
    if (primary === undefined || primaries.length > 1) return `${primaries.length} primaries: ${all()}`
    if (primary.inSync.length !== this.nodes.length) return `in sync are ${primary.inSync.join(', ')}: ${all()}`
    for (const status of statuses) {
      if (status === undefined || (status !== primary && status.state !== 'streaming')) return all()
      if (status.sequence.applied !== primary.sequence.appended) return `not all is applied: ${all()}`
    }
    return undefined
  }

  /**
   * A primary answers a write at this moment: it is durable on every member of the set in force, whatever happens next.
   * A disk that was harmed just now may have held it.
   */
  answered(one: SimulatedNode, position: Position): void {
    const { durability, inSyncMin } = this.world.plan.settings
    if (durability !== 'standby' || !this.isWhole || one.serving?.shard().state !== 'primary') return
    // Whoever follows a forced promotion may have cut it already.
    if (this.oracle.givenUp.isGivenUp(position.epoch)) return
    const { record } = this.store.state('main')
    // While the coordinator has a record that the primary does not know of yet, every answer is looked at.
    const isChanging = record !== undefined && !this.knows(one, record.version)
    // A node that has just started may rest on pages that were never synced.
    const isFresh = this.nodes.some(
      ({ run }) => run !== undefined && this.world.time.nowMs - run.process.startedMs < freshMs,
    )
    if (!this.audits.chance(isChanging ? 1 : isFresh ? freshAuditShare : auditShare)) return
    const inForce = record !== undefined && sameEpoch(record.epoch, position.epoch) ? record.inSync : []
    // Nothing but promises: it is over before anything else happens.
    nodesThatHold([...this.nodes, ...this.seconds], position.sequence).then(
      (names) => {
        const lacking = inForce.filter(({ node }) => !names.includes(node))
        if (names.length >= inSyncMin && lacking.length === 0) return
        const set = inForce.length === 0 ? '' : `; in sync are ${inForce.map(({ node }) => node).join(', ')}`
        const where = names.length === 0 ? 'on no disk' : `on ${names.join(', ')}`
        this.oracle.problems.add(`I5: ${one.name} has answered ${position.sequence}, which is durable ${where}${set}`)
      },
      (error: Error) => this.oracle.problems.add(`a disk cannot be read: ${error.message}`),
    )
  }

  /** A primary knows this version of the record; that it did at its last answer is as good, and costs less to ask. */
  private knows({ run, serving }: SimulatedNode, version: number): boolean {
    if (run === undefined) return false
    if (this.knownVersions.get(run) === version) return true
    const known = serving?.shard().standing().recordVersion
    this.knownVersions.set(run, known)
    return known === version
  }
  private readonly knownVersions = new WeakMap<Run, number | undefined>()

  /** Whoever changes the record knows the newest one: versions go up by one, epochs never down, one primary in each (S3). */
  private watchSwaps(): void {
    const { store, oracle } = this
    const swap = store.swap.bind(store)
    store.swap = (shard, expectedRevision, next) => {
      const before = store.state(shard).record
      const result = swap(shard, expectedRevision, next)
      if (result.swapped) oracle.onRecord(next)
      if (result.swapped && before !== undefined) {
        const order = compareEpochs(next.epoch, before.epoch)
        const samePrimary = sameMember(next.primary, before.primary)
        if (order < 0 || (order === 0 && !samePrimary) || next.version !== before.version + 1) {
          oracle.problems.add(
            `S3: ${next.primary.node} of epoch ${formatEpoch(next.epoch)}, version ${next.version}, was written over ${before.primary.node} of epoch ${formatEpoch(before.epoch)}, version ${before.version}`,
          )
        }
      }
      return result
    }
  }

  private listen(one: SimulatedNode, run: Run): void {
    const node = one.serving
    if (node === undefined) return
    const { trace } = this.world
    const { label } = one
    node.shard().subscribe((event) => {
      if (run.process.isDead) return
      switch (event.type) {
        case 'transition':
          trace.story(label, `${event.from} -> ${event.to}: ${event.reason}`)
          if (event.from === 'bootstrapping') for (const listener of this.readableListeners) listener(one)
          if (event.to === 'primary') {
            // Of any cluster there is a picture for its operator.
            node.shard().status()
            this.oracle.leads(one.name, node.shard().standing().epoch ?? epochZero, node.shard().applied)
          }
          this.observe(one)
          return
        case 'record':
          this.oracle.onRecord(event.record)
          return
        case 'in-sync':
          trace.story(label, `in sync: ${event.inSync.join(', ')} (${event.reason})`)
          return
        case 'diverged':
          trace.story(label, `diverged at ${event.at.sequence}, ${event.cutEntries} entries cut`)
          return
        case 'failure':
          trace.story(label, `failure: ${event.error.message}`)
          return
        default:
      }
    })
    this.observe(one)
    for (const listener of this.readableListeners) listener(one)
  }

  private observe(one: SimulatedNode): void {
    const status = this.standingOf(one)
    if (status === undefined) return
    const { role, epoch, promised, historyId } = status
    this.oracle.epochs.status(one.name, { role, epoch, promised, historyId, directory: one.label })
    const { appended, durable, committed, applied } = status.sequence
    if (durable > appended || applied > durable || applied > committed) {
      this.oracle.problems.add(
        `I5: ${one.name} says appended ${appended}, durable ${durable}, committed ${committed}, applied ${applied}`,
      )
    }
  }

  private watch(): void {
    this.past.note()
    for (const one of this.nodes) {
      this.observe(one)
      if (one.serving?.shard().state === 'failed' && this.looksAfter(one))
        this.afterFailure(one, failureOf(one.serving))
    }
    const voter = this.witness?.run?.node.status().voter
    if (voter?.state === 'failed') this.witness?.end(`has failed: ${voter.reason}`)
    if (!this.whole && this.damaged.size === 0 && this.seconds.size === 0 && this.forcing.size === 0)
      this.whole = this.whatIsMissing() === undefined
  }

  /** What an operator's supervisor does: starts again; and an operator: rebuilds what is damaged. */
  private afterFailure(one: SimulatedNode, error: Error): void {
    if (!this.looksAfter(one)) return
    const code = (error as Partial<UnderstudyError>).failure
    if (code === 'CORRUPTION') {
      if (this.damaged.has(one.name)) {
        this.world.trace.story(one.name, 'is rebuilt by its operator')
        this.wipe(one)
        return
      }
      this.oracle.problems.add(`J2: ${one.name} reports damage that nobody has done: ${error.message}`)
    }
    if (one.run !== undefined) one.end(`has failed: ${error.message}`)
    else this.restartSoon(one)
  }

  wipe(one: SimulatedNode): void {
    one.wipe()
    this.damaged.delete(one.name)
    this.oracle.epochs.forget(one.label)
  }

  private restartSoon(one: SimulatedNode): void {
    const ms = this.random.chance(absentShare)
      ? this.random.between(restartMsMax, absentMsMax)
      : this.random.skewed(restartMsMin, restartMsMax)
    this.world.time.schedule(ms, () => {
      if (this.looksAfter(one)) one.start()
    })
  }
}

function failureOf(node: Node): Error {
  try {
    node.shard().reader()
  } catch (error) {
    return error as Error
  }
  return new Error(node.shard().standing().reason)
}
