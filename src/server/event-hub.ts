import { roleOf } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError } from '../errors.js'
import type { NodeHandle, ShardEvent } from '../runtime/handle.js'

export interface NodeEvent {
  /** Number of an event that is kept; what is superseded by the next of its kind has none. */
  readonly sequence: number | undefined
  readonly name: ShardEvent['type']
  readonly data: Readonly<Record<string, unknown>>
}

type Listener = (event: NodeEvent) => void

/** What happened on the node since the first one asked, the last events kept for readers that connect again. */
export class EventHub {
  readonly #kept: NodeEvent[] = []
  readonly #listeners = new Set<Listener>()
  #sequence = 0
  #subscriptions: Array<() => void> | undefined

  /** Number of the last event that is kept. */
  get sequence(): number {
    return this.#sequence
  }

  /** Idempotent: events are gathered from the first call on. */
  attach(node: NodeHandle): void {
    this.#subscriptions ??= node
      .status()
      .shards.map(({ shard }) => node.shard(shard).subscribe((event) => this.#take(shard, event)))
  }

  /** Events after this one, oldest first; undefined if not all of them are kept. */
  after(sequence: number): readonly NodeEvent[] | undefined {
    const oldest = this.#sequence - this.#kept.length
    if (sequence < oldest || sequence > this.#sequence) return undefined
    return this.#kept.slice(sequence - oldest)
  }

  /** Returns what stops it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    for (const stop of this.#subscriptions ?? []) stop()
    this.#subscriptions = []
    this.#listeners.clear()
  }

  #take(shard: string, event: ShardEvent): void {
    const isKept = event.type !== 'lag' && event.type !== 'bootstrap'
    if (isKept) this.#sequence += 1
    const told: NodeEvent = {
      sequence: isKept ? this.#sequence : undefined,
      name: event.type,
      data: { at: new Date().toISOString(), shard, ...contentOf(event) },
    }
    if (isKept) {
      this.#kept.push(told)
      if (this.#kept.length > limits.eventsKept) this.#kept.shift()
    }
    for (const listener of this.#listeners) listener(told)
  }
}

function contentOf(event: ShardEvent): Readonly<Record<string, unknown>> {
  switch (event.type) {
    case 'transition': {
      const { from, to, reason } = event
      return { from, to, fromRole: roleOf[from], toRole: roleOf[to], reason }
    }
    case 'record': {
      const { epoch, primary, inSync, version } = event.record
      return { epoch, primary: primary.node, inSync: inSync.map(({ node }) => node), recordVersion: version }
    }
    case 'bootstrap':
      return { bootstrap: event.progress }
    case 'lag':
      return { entries: event.lag.entries, lagMs: event.lag.lagMs }
    case 'diverged': {
      const { cutEntries, at: common, file } = event
      return { cutEntries, common, file }
    }
    case 'in-sync': {
      const { added, removed, inSync, reason } = event
      return { added, removed, inSync, reason }
    }
    case 'failover':
      return { failover: event.failover }
    case 'failure': {
      // What is no coded error is a bug: its text is for the log.
      const { code, message, hint } = toUnderstudyError(event.error, 'this node failed')
      return { code, message, hint }
    }
  }
}
