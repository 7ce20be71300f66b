import { limits } from '../core/limits.js'
import type { ShardRecord } from '../core/record.js'
import type { AutomaticCoordinator, Coordinator, MemberAddress, RecordState } from '../ports/coordinator.js'

/**
 * What the coordinator has said, as far as it reached this node: the other members and the newest record of one shard.
 * It may be old; what must be true now is read from the coordinator.
 */
export class ClusterView {
  readonly automatic: AutomaticCoordinator | undefined
  private readonly listeners = new Set<() => void>()
  private readonly addresses = new Map<string, string>()
  private stateNow: RecordState | undefined
  private connectedNow = false
  private errorNow: Error | undefined
  private connectionSinceMs: number
  private readonly unsubscribe: () => void

  constructor(coordinator: Coordinator, shard: string, node: string, wallMs: () => number) {
    this.connectionSinceMs = wallMs()
    if (coordinator.kind === 'static') {
      this.automatic = undefined
      for (const member of coordinator.members) this.addresses.set(member.node, member.address)
      this.unsubscribe = () => undefined
      return
    }
    this.automatic = coordinator
    this.unsubscribe = coordinator.subscribe((event) => {
      switch (event.type) {
        case 'record':
          if (event.shard !== shard) return
          // In order, and the only ones that may go back: a store that was restored says so here.
          this.stateNow = event.state
          break
        case 'members':
          // Who lost a registration keeps its address: a slow coordinator must not end sessions that work (L4).
          for (const member of event.members) {
            if (member.node !== node) this.addresses.set(member.node, member.address)
          }
          this.forgetStrangers(event.members)
          break
        case 'connected':
          if (!this.connectedNow) this.connectionSinceMs = wallMs()
          this.connectedNow = true
          this.errorNow = undefined
          break
        case 'disconnected':
          if (this.connectedNow) this.connectionSinceMs = wallMs()
          this.connectedNow = false
          this.errorNow = event.error
          break
      }
      for (const listener of this.listeners) listener()
    })
  }

  /** Nodes that came and went under ever new names: the oldest that are not registered go (I8). */
  private forgetStrangers(registered: readonly MemberAddress[]): void {
    for (const name of this.addresses.keys()) {
      if (this.addresses.size <= limits.membersMax) return
      if (!registered.some((member) => member.node === name)) this.addresses.delete(name)
    }
  }

  /** Before the coordinator has said anything: where the others were when this node last ran. */
  recall(members: readonly MemberAddress[]): void {
    for (const { node, address } of members) if (!this.addresses.has(node)) this.addresses.set(node, address)
  }

  /** All other members, in the order in which they became known. */
  get others(): readonly MemberAddress[] {
    return [...this.addresses].map(([node, address]) => ({ node, address }))
  }

  addressOf(node: string): string | undefined {
    return this.addresses.get(node)
  }

  /** The newest state that was watched, read or swapped; undefined before the first. */
  get state(): RecordState | undefined {
    return this.stateNow
  }

  get record(): ShardRecord | undefined {
    return this.stateNow?.record
  }

  get connected(): boolean {
    return this.connectedNow
  }

  /** Since when it is as `connected` says. */
  get connectionSince(): string {
    return new Date(this.connectionSinceMs).toISOString()
  }

  get lastError(): Error | undefined {
    return this.errorNow
  }

  /** What a read or a swap brought back: an answer that is older than what was watched changes nothing. */
  note(state: RecordState): void {
    const before = this.stateNow
    if (before !== undefined && sameStore(before, state) && state.revision < before.revision) return
    this.stateNow = state
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  close(): void {
    this.unsubscribe()
    this.listeners.clear()
  }
}

function sameStore(a: RecordState, b: RecordState): boolean {
  return a.coordinatorId === b.coordinatorId
}
