import type { FailoverAnswer } from './failover-status.js'
import type { LifecycleState, Role } from './lifecycle.js'
import { compareEpochs, type Epoch, epochZero } from './position.js'

/** What one node says of a shard, as far as it matters here. */
export interface ToldFailover {
  readonly node: string
  readonly shard: {
    readonly role: Role
    readonly state: LifecycleState
    readonly epoch: Epoch | undefined
    readonly coordinator: { readonly connected: boolean }
    readonly failover: FailoverAnswer
  }
}

/**
 * "Can we fail over now?", from the answers of several nodes. The primary knows its followers; without one, a member of
 * the set that sees a way is believed. Undefined if nobody who answers hosts the shard.
 */
export function mergeFailoverAnswers(
  answers: readonly ToldFailover[],
  inSync: readonly string[],
): (FailoverAnswer & { readonly saidBy: string }) | undefined {
  const byEpoch = [...answers].sort((a, b) => compareEpochs(b.shard.epoch ?? epochZero, a.shard.epoch ?? epochZero))
  const members = byEpoch.filter(({ node }) => inSync.includes(node))
  const chosen =
    byEpoch.find(({ shard }) => shard.role === 'primary') ??
    members.find(({ shard }) => shard.failover.possible) ??
    members[0] ??
    byEpoch[0]
  if (chosen === undefined) return undefined
  const said = { ...chosen.shard.failover, saidBy: chosen.node }
  // Whoever answers does not know whether the node that it names reaches the coordinator: that one was asked too.
  const named = byEpoch.find(({ node }) => node === said.to)
  if (!said.possible || named === undefined || named.shard.coordinator.connected) return said
  const why = `${named.node} does not reach the coordinator`
  const other = members.find(
    ({ node, shard }) => node !== named.node && shard.state === 'streaming' && shard.coordinator.connected,
  )
  return other === undefined
    ? { possible: false, reason: why, to: undefined, saidBy: named.node }
    : { possible: true, reason: `${why}, but ${other.node} does and can take over`, to: other.node, saidBy: named.node }
}
