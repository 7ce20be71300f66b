import type { InMemoryWeather } from '../coordinator/in-memory.js'
import type { SimulatedNode } from './simulated-node.js'

/** How the nodes reach the coordinator in memory: several things may be wrong with it at a time. */
export class CoordinatorWeather {
  private readonly nodes: readonly SimulatedNode[]
  private readonly cuts: string[] = []
  private readonly delays: number[] = []
  private awayCount = 0

  constructor(nodes: readonly SimulatedNode[]) {
    this.nodes = nodes
  }

  of(name: string): InMemoryWeather {
    const delayMs = this.delays.length === 0 ? undefined : Math.max(...this.delays)
    return {
      reachable: this.awayCount === 0 && !this.cuts.includes(name),
      ...(delayMs === undefined ? {} : { delayMs }),
    }
  }

  away(): () => void {
    this.awayCount += 1
    this.change()
    return () => {
      this.awayCount -= 1
      this.change()
    }
  }

  cut(name: string): () => void {
    this.cuts.push(name)
    this.change()
    return () => {
      this.cuts.splice(this.cuts.indexOf(name), 1)
      this.change()
    }
  }

  slow(delayMs: number): () => void {
    this.delays.push(delayMs)
    this.change()
    return () => {
      this.delays.splice(this.delays.indexOf(delayMs), 1)
      this.change()
    }
  }

  /** Of the next swap of each node. */
  loseReplies(): void {
    for (const one of this.nodes) this.set(one, { loseReplies: 1 })
  }

  private change(): void {
    for (const one of this.nodes) this.set(one, {})
  }

  /** A node hears of it when its process comes round: how the weather is then. */
  private set(one: SimulatedNode, besides: InMemoryWeather): void {
    const { run } = one
    run?.process.after(0, () => run.coordinator?.setWeather({ ...this.of(one.name), ...besides }))
  }
}
