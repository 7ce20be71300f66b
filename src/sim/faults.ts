import { UnderstudyError } from '../errors.js'
import { diskError } from './disk.js'
import type { FaultKind } from './fault-kinds.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** How long a fault that lasts does so. */
const lastMsMin = 50
const lastMsMax = 5_000

export class Faults {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly lasting = new Set<() => void>()

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.cluster = cluster
  }

  /** False: not possible now. */
  inject(kind: FaultKind, random: SeededRandom): boolean {
    const { cluster } = this
    const victim = random.chance(0.5) ? (cluster.primary ?? random.pick(cluster.all)) : random.pick(cluster.all)
    switch (kind) {
      case 'crash':
        return this.alive(victim, () => victim.end('crash'))
      case 'power-loss':
        return this.alive(victim, () => victim.losePower('loss of power'))
      case 'power-loss-all':
        for (const one of cluster.all) one.losePower('loss of power everywhere')
        return true
      case 'restart':
        return this.alive(victim, () => victim.stop(10_000))
      default:
        return false
    }
  }

  endAll(): void {
    for (const end of [...this.lasting]) end()
  }

  private alive(one: SimulatedNode, work: () => void): boolean {
    if (one.run === undefined) return false
    work()
    return true
  }

  /** Ends by itself after a while, or with all faults. */
  private last(what: string, random: SeededRandom, end: () => void): true {
    const { time, trace } = this.world
    trace.story('world', what)
    const once = () => {
      if (!this.lasting.delete(once)) return
      trace.story('world', `over: ${what}`)
      end()
    }
    this.lasting.add(once)
    time.schedule(random.skewed(lastMsMin, lastMsMax), once)
    return true
  }
}
void UnderstudyError
void diskError
