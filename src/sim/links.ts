import { createInMemoryNetwork, type InMemoryNetwork } from '../transport/in-memory.js'
import type { SeededRandom } from './seeded-random.js'
import type { VirtualTime } from './virtual-time.js'

export interface LinkPlan {
  /** One way, in milliseconds. */
  readonly delayMs: number
  /** Up to so much more. */
  readonly jitterMs: number
  /** Share of what is sent that is lost once and comes when TCP has sent it again. */
  readonly lossShare: number
  readonly bytesPerMs: number
}

/** What TCP waits before it sends something again. */
const retransmitMs = 200

/** The network between the nodes: delays from the seed, and cuts that may overlap. */
export class Links {
  readonly network: InMemoryNetwork
  private readonly random: SeededRandom
  private readonly plan: LinkPlan
  private readonly cuts = new Set<{ readonly from: string; readonly to: string }>()
  private isCalm = false
  private readonly slow = new Map<string, number>()

  constructor(time: VirtualTime, random: SeededRandom, plan: LinkPlan) {
    this.random = random
    this.plan = plan
    const turnMs = 0.01
    this.network = createInMemoryNetwork(
      {
        nowMs: () => time.nowMs,
        setTimer: (delayMs, fn) => time.schedule(delayMs, fn),
        defer: (fn) => void time.schedule(turnMs, fn),
      },
      (from, to, bytes) => this.delayOf(from, to, bytes),
    )
  }

  private delayOf(from: string, to: string, bytes: number): number {
    const { delayMs, jitterMs, lossShare, bytesPerMs } = this.plan
    const lost = lossShare > 0 && this.random.chance(lossShare) && !this.isCalm ? retransmitMs : 0
    const slowMs = this.slow.size === 0 ? 0 : (this.slow.get(`${from} ${to}`) ?? 0)
    return delayMs + this.random.next() * jitterMs + bytes / bytesPerMs + lost + slowMs
  }

  /** Nothing is lost any more. */
  calm(): void {
    this.isCalm = true
  }

  /** Nothing passes from `from` to `to` (`*`: everybody) until what is returned is called. */
  cut(from: string, to: string): () => void {
    const cut = { from, to }
    this.cuts.add(cut)
    this.network.partition(from, to, { oneWay: true })
    return () => {
      this.cuts.delete(cut)
      // Others may hold the same way closed.
      this.network.heal()
      for (const one of this.cuts) this.network.partition(one.from, one.to, { oneWay: true })
    }
  }

  /** Everything from `from` to `to` takes so much longer. */
  slowDown(from: string, to: string, byMs: number): () => void {
    const way = `${from} ${to}`
    this.slow.set(way, byMs)
    return () => void this.slow.delete(way)
  }
}
