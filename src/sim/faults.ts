import { formatEpoch } from '../core/position.js'
import type { Node } from '../runtime/node.js'
import type { DiskOperation } from './disk.js'
import { DiskDamage } from './disk-damage.js'
import type { FaultKind } from './fault-kinds.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** How long a fault that lasts does so. */
const lastMsMin = 50
const lastMsMax = 6_000
const stopMsMax = 10_000
/** Before a promotion is forced. */
const cutOffShare = 0.7
const cutOffMsMin = 500
const cutOffMsMax = 5_000
const atSyncShare = 0.4
/** A disk that syncs nothing is struck all the same. */
const syncWaitMsMax = 3_000

/** Each fault as something that is done to the cluster now, and ends by itself or with all of them. */
export class Faults {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly disks: DiskDamage
  private readonly lasting = new Set<() => void>()
  private areOver = false

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.cluster = cluster
    this.disks = new DiskDamage(world, cluster)
  }

  endAll(): void {
    this.areOver = true
    for (const end of [...this.lasting]) end()
    this.disks.endAll()
    this.connectAnew()
  }

  /** A standby that was removed by hand stays out of the set until its next connection. */
  private connectAnew(): void {
    const { nodes } = this.cluster
    for (const one of nodes) {
      for (const other of nodes) if (one !== other) this.world.links.network.dropConnections(one.address, other.address)
    }
  }

  /** False: not possible now. */
  inject(kind: FaultKind, random: SeededRandom): boolean {
    const { cluster, world } = this
    const { links } = world
    const victim = random.chance(0.4) ? (cluster.primary ?? random.pick(cluster.all)) : random.pick(cluster.all)
    const other = random.pick(cluster.all.filter((one) => one !== victim))
    const [a, b] = [victim.address, other.address]
    switch (kind) {
      case 'crash':
        return alive(victim, () => this.strike(victim, random, () => victim.end('crash')))
      case 'power-loss':
        return alive(victim, () => this.strike(victim, random, () => victim.losePower('loss of power')))
      case 'power-loss-all':
        for (const one of cluster.all) one.losePower('loss of power everywhere')
        return true
      case 'restart':
        return alive(victim, () => victim.stop(stopMsMax))
      case 'stall':
        return this.stall(victim, random)
      case 'partition-node':
        return this.last(`${victim.name} is cut off`, random, [links.cut(a, '*'), links.cut('*', a)])
      case 'partition-pair':
        return this.last(`${victim.name} and ${other.name} are cut off from each other`, random, [
          links.cut(a, b),
          links.cut(b, a),
        ])
      case 'partition-one-way':
        return random.chance(0.5)
          ? this.last(`nothing passes from ${victim.name} to ${other.name}`, random, [links.cut(a, b)])
          : this.last(`nothing that ${victim.name} sends arrives`, random, [links.cut(a, '*')])
      case 'partition-halves': {
        const half = cluster.all.filter(() => random.chance(0.5))
        const rest = cluster.all.filter((one) => !half.includes(one))
        const ways = half.flatMap((one) =>
          rest.flatMap((two) => [links.cut(one.address, two.address), links.cut(two.address, one.address)]),
        )
        return this.last(`${half.map((one) => one.name).join(', ') || 'nobody'} cut off from the others`, random, ways)
      }
      case 'slow-link': {
        const byMs = random.skewed(5, 500)
        const ways = [links.slowDown(a, b, byMs)]
        if (random.chance(0.5)) ways.push(links.slowDown(b, a, byMs))
        return this.last(`${victim.name} to ${other.name} takes ${byMs.toFixed(0)} ms more`, random, ways)
      }
      case 'connection-drop': {
        const others = random.chance(0.5) ? [other] : cluster.all.filter((one) => one !== victim)
        if ([victim, ...others].some((one) => one.run?.process.isStill === true)) return false
        world.trace.story(
          'world',
          `connections of ${victim.name} and ${others.map(({ name }) => name).join(', ')} break`,
        )
        for (const one of others) links.network.dropConnections(a, one.address)
        return true
      }
      case 'firewall-node':
        return this.rejectAll(victim, random)
      case 'disk-slow': {
        const times = random.skewed(5, 200)
        victim.slowness = times
        return this.last(`the disk of ${victim.name} is ${times.toFixed(0)} times slower`, random, [
          () => {
            victim.slowness = 1
          },
        ])
      }
      case 'disk-sync-fails':
      case 'disk-write-fails':
      case 'disk-full':
      case 'bit-rot':
      case 'misdirected-read':
      case 'wipe':
        return this.disks.inject(kind, victim, random)
      case 'second-process':
        return this.secondProcess(random)
      case 'wall-clock-jump':
        return alive(victim, (run) => {
          run.process.wallOffsetMs += random.between(-3_600_000, 3_600_000)
        })
      case 'coordinator-slow':
      case 'coordinator-away':
      case 'coordinator-cut':
      case 'coordinator-reply-lost':
      case 'coordinator-restart':
      case 'coordinator-rolled-back':
      case 'coordinator-wiped':
        return this.coordinator(kind, random)
      case 'switchover': {
        const to = random.chance(0.5) ? random.pick(cluster.nodes).name : undefined
        return this.operate(random, `switchover to ${to ?? 'anybody'}`, (node) =>
          node.shard().switchover(to === undefined ? {} : { to }),
        )
      }
      case 'promote':
        return this.operate(random, 'promote', (node) => node.shard().promote())
      case 'promote-forced':
        return this.promoteForced(random)
      case 'remove-from-in-sync': {
        const leaving = random.pick(cluster.nodes).name
        return this.operate(random, `remove ${leaving} from the in-sync set`, async (node) => {
          await node.shard().removeFromInSync(leaving)
          // Asked for before the faults were over, and done only now.
          if (this.areOver) this.connectAnew()
        })
      }
    }
  }

  /** Both ends learn of it at once, and a program on that machine goes on reading under whatever the node still holds. */
  private rejectAll(victim: SimulatedNode, random: SeededRandom): boolean {
    const { cluster, world } = this
    if (cluster.all.some((one) => one.run?.process.isStill === true)) return false
    const { links } = world
    const { address, name } = victim
    const ends = [links.cut(address, '*'), links.cut('*', address), cluster.weather.cut(name)]
    for (const one of cluster.all) if (one !== victim) links.network.dropConnections(address, one.address)
    return this.last(`a firewall rejects everything from and to ${name}`, random, ends)
  }

  /** Now, or just after the disk was asked to sync something: that is when answers are on their way. */
  private strike(victim: SimulatedNode, random: SeededRandom, strike: () => void): void {
    const { disk } = victim
    if (disk.fault !== undefined || !random.chance(atSyncShare)) {
      strike()
      return
    }
    const { time } = this.world
    const afterMs = random.skewed(0.01, 20)
    let isDone = false
    const once = () => {
      if (isDone || this.areOver) return
      isDone = true
      if (disk.fault === atSync) disk.fault = undefined
      strike()
    }
    const atSync = (operation: DiskOperation) => {
      if (operation === 'datasync' || operation === 'sync') {
        disk.fault = undefined
        time.schedule(afterMs, once)
      }
      return undefined
    }
    disk.fault = atSync
    time.schedule(syncWaitMsMax, once)
  }

  private stall(victim: SimulatedNode, random: SeededRandom): boolean {
    const { run } = victim
    if (run === undefined || run.process.isStill) return false
    run.process.stand()
    const release = this.world.links.cut('*', victim.address)
    return this.last(`${victim.name} stands still`, random, [release, () => run.process.goOn()])
  }

  /** A machine that was set up twice: the same name, an empty disk of its own. */
  private secondProcess(random: SeededRandom): boolean {
    const { cluster } = this
    const name = random.pick(cluster.nodes).name
    const second = cluster.addSecond(name)
    if (second === undefined) return false
    second.start()
    return this.last(`a second process calls itself ${name}`, random, [() => cluster.removeSecond(second)])
  }

  private coordinator(kind: FaultKind, random: SeededRandom): boolean {
    const { cluster, world } = this
    const { witness, weather } = cluster
    if (witness !== undefined) {
      if (kind === 'coordinator-restart') {
        const isCrash = random.chance(0.5)
        return alive(witness, () =>
          this.strike(witness, random, () => (isCrash ? witness.end('crash') : witness.losePower('loss of power'))),
        )
      }
      const { address } = witness
      return this.last('nobody reaches the witness', random, [
        world.links.cut(address, '*'),
        world.links.cut('*', address),
      ])
    }
    switch (kind) {
      case 'coordinator-slow': {
        const ms = random.skewed(5, 1_000)
        return this.last(`the coordinator takes ${ms.toFixed(0)} ms each way`, random, [weather.slow(ms)])
      }
      case 'coordinator-cut': {
        const { name } = random.pick(cluster.nodes)
        return this.last(`${name} does not reach the coordinator`, random, [weather.cut(name)])
      }
      case 'coordinator-reply-lost':
        world.trace.story('world', 'replies of the coordinator to swaps are lost')
        weather.loseReplies()
        return true
      case 'coordinator-restart': {
        const over = weather.away()
        world.trace.story('world', 'the coordinator restarts')
        world.time.schedule(random.skewed(20, 500), over)
        return true
      }
      case 'coordinator-rolled-back':
      case 'coordinator-wiped': {
        const { past } = cluster
        const wiped = kind === 'coordinator-wiped'
        const end = wiped ? past.wipe() : past.rollBack((count) => random.below(count))
        if (end === undefined) return false
        return this.last(`the coordinator ${wiped ? 'is wiped' : 'goes back to an old backup'}`, random, [end])
      }
      default:
        return this.last('nobody reaches the coordinator', random, [weather.away()])
    }
  }

  /** What an operator asks of some node. */
  private operate(random: SeededRandom, what: string, ask: (node: Node) => Promise<unknown>): boolean {
    const { cluster, world } = this
    const asked = random.chance(0.6) ? (cluster.primary ?? random.pick(cluster.nodes)) : random.pick(cluster.nodes)
    const { run, serving } = asked
    if (run === undefined || serving === undefined) return false
    const tell = (end: string) => {
      if (!run.process.isDead) world.trace.story('operator', `${what} at ${asked.name}: ${end}`)
    }
    world.trace.story('operator', `asks ${asked.name}: ${what}`)
    run.process.after(0, () => {
      ask(serving).then(
        () => tell('done'),
        (error: Error) => tell(error.message),
      )
    })
    return true
  }

  /** Of whoever; often of one that hears nothing of the others any more: then it lacks something. */
  private promoteForced(random: SeededRandom): boolean {
    const { cluster, world } = this
    const { links, time } = world
    const { primary } = cluster
    // Whoever leads already is asked now and then only.
    const asked = cluster.nodes.filter((node) => node !== primary || random.chance(0.1))
    const one = random.pick(asked.length === 0 ? cluster.nodes : asked)
    const isCutOff = random.chance(cutOffShare)
    const afterMs = random.skewed(cutOffMsMin, cutOffMsMax)
    if (one.serving === undefined || one.run?.process.isStill === true) return false
    if (!isCutOff) return this.force(one)
    const others = cluster.nodes.filter((other) => other !== one)
    const ways = others.flatMap(({ address }) => [links.cut(one.address, address), links.cut(address, one.address)])
    this.last(`${one.name} does not reach the other nodes`, random, ways)
    time.schedule(afterMs, () => {
      if (!this.areOver) this.force(one)
    })
    return true
  }

  /** What that node lacks is given up, and its answer says whether that may be anything. */
  private force(one: SimulatedNode): boolean {
    const { cluster, world } = this
    const { run, serving } = one
    if (run === undefined || serving === undefined) return false
    world.trace.story('operator', `promotes ${one.name} by force`)
    const isOver = cluster.force(run)
    const tell = (end: string) => {
      if (!run.process.isDead) world.trace.story('operator', `${one.name}: ${end}`)
    }
    run.process.after(0, () => {
      serving
        .shard()
        .promote({ force: true })
        .then(
          (result) => {
            if (run.process.isDead) return
            cluster.oracle.promoted(one.name, result)
            const { epoch, mayLose } = result
            const lost = mayLose === undefined ? 'nothing is lost' : `${mayLose.entries} entries are known to be lost`
            tell(`leads in epoch ${formatEpoch(epoch)}, ${lost}`)
          },
          (error: Error) => tell(error.message),
        )
        .finally(isOver)
    })
    return true
  }

  /** Ends by itself after a while, or with all faults. */
  private last(what: string, random: SeededRandom, ends: ReadonlyArray<() => void>): true {
    const { time, trace } = this.world
    trace.story('world', what)
    const once = () => {
      if (!this.lasting.delete(once)) return
      trace.story('world', `over: ${what}`)
      for (const end of ends) end()
    }
    this.lasting.add(once)
    time.schedule(random.skewed(lastMsMin, lastMsMax), once)
    return true
  }
}

function alive(one: SimulatedNode, work: (run: NonNullable<SimulatedNode['run']>) => void): boolean {
  if (one.run === undefined) return false
  work(one.run)
  return true
}
