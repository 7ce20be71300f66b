/** Asks all nodes for their status all the time: who is primary, and was there ever more than one in an epoch. */
import { HttpClient, NoAnswer } from '#src/cli/http-client.js'
import { compareEpochs, type Epoch, formatEpoch } from '#src/core/position.js'
import type { FailoverRecord, NodeStatus } from '#src/runtime/handle.js'
import { EpochWatch } from '#src/sim/checks.js'
import { pass } from './times.js'

interface Question {
  readonly epoch: string
  readonly afterMs: number
  readonly answer: (confirmed: boolean) => void
}

interface Watched {
  /** The epoch in which it said to be primary when it was last asked. */
  epoch: Epoch | undefined
  questions: Question[]
}

const intervalMs = 50

export class Monitor {
  readonly watch = new EpochWatch()
  /** Changes of primary that nodes reported, by epoch. */
  readonly failovers = new Map<string, FailoverRecord>()
  private readonly nodes: readonly string[]
  private readonly urlOf: (node: string) => string
  private readonly watched: ReadonlyMap<string, Watched>
  private readonly client = new HttpClient({ connectionsMax: 2, timeoutMs: 1_000 })
  private readonly stopping = new AbortController()
  private readonly running: Promise<unknown>

  constructor(nodes: readonly string[], urlOf: (node: string) => string) {
    this.nodes = nodes
    this.urlOf = urlOf
    this.watched = new Map(nodes.map((node) => [node, { epoch: undefined, questions: [] }]))
    this.running = Promise.all(nodes.map((node) => this.ask(node)))
    this.running.catch(() => undefined)
  }

  /** Who said to be primary of the highest epoch. */
  get primary(): string | undefined {
    let found: { readonly node: string; readonly epoch: Epoch } | undefined
    for (const node of this.nodes) {
      const { epoch } = this.watched.get(node)!
      if (epoch !== undefined && (found === undefined || compareEpochs(epoch, found.epoch) > 0)) found = { node, epoch }
    }
    return found?.node
  }

  /** The epoch in which a node was primary when it was last asked. */
  epochOf(node: string): string | undefined {
    const { epoch } = this.watched.get(node)!
    return epoch === undefined ? undefined : formatEpoch(epoch)
  }

  /** Whether the node is still primary of this epoch when it is asked the next time after that moment. */
  confirm(node: string, epoch: string, afterMs: number, answer: (confirmed: boolean) => void): void {
    this.watched.get(node)!.questions.push({ epoch, afterMs, answer })
  }

  /** All questions that are open are answered with no. */
  async close(): Promise<void> {
    this.stopping.abort()
    await this.running
    this.client.close()
    for (const { questions } of this.watched.values()) for (const { answer } of questions) answer(false)
  }

  private async ask(node: string): Promise<void> {
    const { signal } = this.stopping
    const watched = this.watched.get(node)!
    while (!signal.aborted) {
      const askedMs = performance.now()
      watched.epoch = await this.epochNow(node)
      const answered = watched.questions.filter(({ afterMs }) => afterMs <= askedMs)
      watched.questions = watched.questions.filter(({ afterMs }) => afterMs > askedMs)
      const now = this.epochOf(node)
      for (const { epoch, answer } of answered) answer(epoch === now)
      await pass(intervalMs, signal)
    }
  }

  private async epochNow(node: string): Promise<Epoch | undefined> {
    try {
      const status = await this.client.json<NodeStatus>(this.urlOf(node), { method: 'GET', path: '/v1/status' })
      const shard = status.shards[0]
      if (shard === undefined) return undefined
      // Before its directory is open it knows of no epoch.
      if (shard.historyId !== undefined) this.watch.status(node, shard)
      for (const failover of shard.failovers) {
        const name = formatEpoch(failover.epoch)
        // What the new primary knows of its own takeover is more than what the others do.
        if (failover.primary === node || !this.failovers.has(name)) this.failovers.set(name, failover)
      }
      return shard.state === 'primary' ? shard.epoch : undefined
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error
      return undefined
    }
  }
}
