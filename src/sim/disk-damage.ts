import { type DiskFault, type DiskOperation, diskError } from './disk.js'
import type { FaultKind } from './fault-kinds.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

const fullMsMax = 4_000
/** Until something happens to the faulty operation; a disk that is not used gets well again. */
const armedMs = 5_000

/** What disks do that still answer, and what is lost with them. */
export class DiskDamage {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly armed = new Map<SimulatedNode, () => void>()

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.cluster = cluster
  }

  endAll(): void {
    for (const end of [...this.armed.values()]) end()
    // An operator looks through the disks before the cluster is judged.
    for (const one of this.cluster.nodes) if (this.cluster.damaged.has(one.name)) this.cluster.wipe(one)
  }

  inject(kind: FaultKind, victim: SimulatedNode, random: SeededRandom): boolean {
    const { trace } = this.world
    switch (kind) {
      case 'disk-sync-fails':
        return this.once(
          victim,
          (operation) => operation === 'datasync' || operation === 'sync',
          `fsync fails`,
          () => diskError('EIO', 'fsync'),
        )
      case 'disk-write-fails': {
        const short = random.chance(0.5)
        return this.once(
          victim,
          (operation) => operation === 'write',
          short ? 'a write is short' : 'a write fails',
          () => (short ? 'short' : diskError('EIO', 'write')),
        )
      }
      case 'disk-full': {
        const wants = (operation: DiskOperation) => operation === 'write' || operation === 'create'
        return this.arm(victim, 'the disk is full', random.skewed(50, fullMsMax), (operation) =>
          wants(operation) ? diskError('ENOSPC', operation) : undefined,
        )
      }
      case 'misdirected-read':
        if (!this.mayDamage(victim)) return false
        // While the node runs: a tail that recovery cannot read it cuts, as it would one that was never synced.
        return this.once(
          victim,
          (operation, path) =>
            operation === 'read' && path.endsWith('.journal') && victim.serving !== undefined && this.mayDamage(victim),
          'a read is misdirected',
          () => {
            this.cluster.harm(victim)
            return 'misdirected'
          },
        )
      case 'bit-rot':
        if (!this.mayDamage(victim) || !this.rot(victim, random)) return false
        this.cluster.harm(victim)
        if (random.chance(0.7)) victim.end('crash')
        return true
      case 'wipe':
        if (!this.mayDamage(victim)) return false
        this.cluster.harm(victim)
        this.cluster.wipe(victim)
        return true
      default:
        trace.story('world', `${kind} is no damage of a disk`)
        return false
    }
  }

  /** One disk at a time, and the next one when all is whole again: what no set can survive proves nothing. */
  private mayDamage(victim: SimulatedNode): boolean {
    return !victim.isWitness && this.cluster.isWhole
  }

  /** One byte in the first half of what a segment holds: it was flushed long ago. */
  private rot(victim: SimulatedNode, random: SeededRandom): boolean {
    const directory = `${victim.directory}/shards/main/current/journal`
    const { disk } = victim
    const names = disk.exists(directory) ? disk.list(directory).filter((name) => /^\d+\.journal$/.test(name)) : []
    if (names.length === 0) return false
    const path = `${directory}/${random.pick(names)}`
    const content = disk.content(path)
    let used = content.length
    while (used > 0 && content[used - 1] === 0) used -= 1
    if (used < 4_096) return false
    const at = random.below(Math.floor(used / 2))
    disk.corrupt(path, (bytes) => {
      bytes[at] = bytes[at]! ^ (1 << random.below(8))
      return bytes
    })
    this.world.trace.story('world', `a bit of ${path} of ${victim.name} rots at ${at}`)
    return true
  }

  private once(
    victim: SimulatedNode,
    wants: (operation: DiskOperation, path: string) => boolean,
    what: string,
    fault: () => ReturnType<DiskFault>,
  ): boolean {
    return this.arm(victim, what, armedMs, (operation, path) => {
      if (!wants(operation, path)) return undefined
      this.armed.get(victim)?.()
      return fault()
    })
  }

  private arm(victim: SimulatedNode, what: string, forMs: number, fault: DiskFault): boolean {
    if (this.armed.has(victim)) return false
    this.world.trace.story('world', `${victim.name}: ${what}`)
    victim.disk.fault = fault
    const end = () => {
      if (this.armed.get(victim) !== end) return
      this.armed.delete(victim)
      victim.disk.fault = undefined
    }
    this.armed.set(victim, end)
    this.world.time.schedule(forMs, end)
    return true
  }
}
