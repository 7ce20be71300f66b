/** Does to a cluster what its plan says, and counts it. */
import type { FaultKind } from './fault-kinds.js'
import { faultKinds } from './fault-kinds.js'
import { Faults } from './faults.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { World } from './world.js'

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
    for (const kind of faultKinds) {
      const everyMs = plan.faults.get(kind)
      if (everyMs === undefined) continue
      const random = streams.of(`fault ${kind}`)
      const next = () =>
        time.schedule(-Math.log(1 - random.next()) * everyMs, () => {
          if (this.isOver) return
          if (this.faults.inject(kind, random)) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
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
