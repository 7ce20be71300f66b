import { compareEpochs, formatEpoch } from '../core/position.js'
import { mergeFailoverAnswers } from '../core/told-failover.js'
import type { FailoverRecord, FailoverStatus, LossEstimate, ShardStatus } from '../runtime/handle.js'

/** What one node says of a shard. */
export interface ShardAnswer {
  readonly node: string
  /** The coordinator as this node is configured. */
  readonly coordinator: string
  readonly shard: ShardStatus
}

export interface CoordinatorPicture {
  readonly kind: 'static' | 'automatic'
  readonly description: string
  readonly nodes: ReadonlyArray<{
    readonly node: string
    readonly connected: boolean
    readonly since: string | undefined
    readonly lastError: string | undefined
  }>
}

export interface FailoverLine {
  readonly at: string
  readonly epoch: string
  readonly primary: string
  readonly kind: FailoverRecord['kind']
  readonly tookMs: number | undefined
  readonly mayLose: LossEstimate | undefined
}

export interface FailoverPicture {
  /** The answer of the node that knows most; undefined if nobody who answers hosts the shard. */
  readonly failover: (FailoverStatus & { readonly saidBy: string }) | undefined
  readonly coordinator: CoordinatorPicture | undefined
  /** Newest first, each change of primary once. */
  readonly failovers: readonly FailoverLine[]
}

export function describeFailover(answers: readonly ShardAnswer[], inSync: readonly string[]): FailoverPicture {
  return {
    failover: mergeFailoverAnswers(answers, inSync),
    coordinator: describeCoordinator(answers),
    failovers: mergeFailovers(answers),
  }
}

function describeCoordinator(answers: readonly ShardAnswer[]): CoordinatorPicture | undefined {
  const first = answers[0]
  if (first === undefined) return undefined
  return {
    kind: first.shard.coordinator.kind,
    description: first.coordinator,
    nodes: answers.map(({ node, shard: { coordinator } }) => ({
      node,
      connected: coordinator.connected,
      since: coordinator.since,
      lastError: coordinator.lastError,
    })),
  }
}

/** Every node tells what it has seen; only the new primary knows how long it took. */
function mergeFailovers(answers: readonly ShardAnswer[]): FailoverLine[] {
  const byEpoch = new Map<string, FailoverRecord>()
  for (const record of answers.flatMap(({ shard }) => shard.failovers)) {
    const key = formatEpoch(record.epoch)
    const before = byEpoch.get(key)
    const knowsMore = before === undefined || (before.tookMs === undefined && record.tookMs !== undefined)
    if (knowsMore) byEpoch.set(key, { ...record, mayLose: record.mayLose ?? before?.mayLose })
    else byEpoch.set(key, { ...before, mayLose: before.mayLose ?? record.mayLose })
  }
  return [...byEpoch.values()]
    .sort((a, b) => compareEpochs(b.epoch, a.epoch))
    .map(({ at, epoch, primary, kind, tookMs, mayLose }) => ({
      at,
      epoch: formatEpoch(epoch),
      primary,
      kind,
      tookMs,
      mayLose,
    }))
}
