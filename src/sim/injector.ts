/** Does to a cluster what its plan says, and counts it. */
import type { FaultKind } from './fault-kinds.js'
import { faultKinds } from './fault-kinds.js'
import { Faults } from './faults.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { World } from './world.js'

const burstMsMin = 1
const burstMsMax = 1_000

export class Injector {
  readonly counts = new Map<FaultKind, number>()
  private readonly world: World
  private readonly faults: Faults
  private isOver = false

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.faults = new Faults(world, cluster)
  }

  start(): void {
    const { plan, streams, time } = this.world
    const kinds = [...plan.faults.keys()]
    const bursts = streams.of('bursts')
    const inject = (kind: FaultKind, random: SeededRandom) => {
      if (this.isOver) return
      if (!this.faults.inject(kind, random)) return
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
      // What breaks just after something else broke finds the cluster in the middle of getting over it.
      if (!bursts.chance(plan.burstShare)) return
      const next = bursts.pick(kinds)
      time.schedule(bursts.skewed(burstMsMin, burstMsMax), () => inject(next, bursts))
    }
    for (const kind of faultKinds) {
      const everyMs = plan.faults.get(kind)
      if (everyMs === undefined) continue
      const random = streams.of(`fault ${kind}`)
      const next = () =>
        time.schedule(-Math.log(1 - random.next()) * everyMs, () => {
          if (this.isOver) return
          inject(kind, random)
          next()
        })
      next()
    }
  }

  /** No more faults, and those that last end. */
  stop(): void {
    this.isOver = true
    this.faults.endAll()
    this.world.links.calm()
  }
}
