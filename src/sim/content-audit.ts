/**
 * S8, I4, B1, B3: all that a node holds, families and keys, is held against what was folded up to its position: now and
 * then, and as soon as it can be read after a start, a bootstrap or a rewind, before later writes cover what is wrong.
 */
import { describeEngine } from './folded-content.js'
import type { OperationCounts } from './operation-kinds.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

const everyMsMax = 1_500

export class ContentAudit {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly counts: OperationCounts
  private isOver = false

  constructor(world: World, cluster: SimulatedCluster, counts: OperationCounts) {
    this.world = world
    this.cluster = cluster
    this.counts = counts
  }

  start(): void {
    const random = this.world.streams.of('content audit')
    const { time } = this.world
    const next = () =>
      time.schedule(random.next() * everyMsMax, () => {
        this.look(random.pick(this.cluster.nodes))
        if (!this.isOver) next()
      })
    next()
    this.cluster.readableListeners.add((one) => time.schedule(0, () => this.look(one)))
  }

  stop(): void {
    this.isOver = true
  }

  private look(one: SimulatedNode): void {
    if (this.isOver) return
    const { oracle } = this.cluster
    const name = one.name
    // Nothing but promises: it is over before anything else happens. Who cannot be read now says so.
    compareWithFold(this.cluster, one).then(
      (problem) => {
        this.counts.add('compare-content')
        if (problem !== undefined) oracle.problems.add(problem)
      },
      (error: Error) => {
        if (one.serving?.shard().state === 'primary') oracle.problems.add(`${name} leads, and ${error.message}`)
      },
    )
  }
}

/** Rejects where a node cannot be read now; undefined if all is equal. */
export async function compareWithFold(cluster: SimulatedCluster, one: SimulatedNode): Promise<string | undefined> {
  const { serving } = one
  if (serving === undefined) throw new Error('nobody is there')
  const { chain, sequence, lines } = await describeEngine(serving.shard().reader())
  const { fold } = cluster.oracle
  const end = fold.at({ chain })
  if (end === undefined && sequence > 0) return `I4: ${one.name} is at ${sequence}, which nobody has applied`
  const expected = fold.describe(end)
  const index = lines.findIndex((line, at) => line !== expected[at])
  if (index === -1 && lines.length === expected.length) return undefined
  const at = index === -1 ? lines.length : index
  return `S8, I4: the engine of ${one.name} is not the fold up to ${sequence}: ${shown(lines[at])} instead of ${shown(expected[at])}`
}

function shown(line: string | undefined): string {
  return line === undefined ? 'nothing' : line.replace(/\.+$/, '')
}
