import { compareEpochs } from '../core/position.js'
import type { MemberStatus, NodeStatus, ShardStatus } from '../runtime/handle.js'
import type { NodeSample, PeerAnswer, PictureSample } from './live-picture.js'

/** The figures of one moment that are plotted: what each node says of itself, or else what others know of it. */
export function takeSample(atMs: number, self: NodeStatus, peers: readonly PeerAnswer[]): PictureSample {
  const statuses = [self, ...peers.flatMap(({ status }) => status ?? [])]
  const primary = primaryOf(statuses)
  const nodes: Record<string, NodeSample> = {}
  const leads = self.members.find(({ role }) => role === 'primary')
  const committed = primary?.shard.sequence.committed ?? leads?.durable
  const names = new Set([self.node, ...self.members.map(({ node }) => node), ...peers.map(({ node }) => node)])
  for (const node of names) {
    const shard = shardOf(statuses.find((status) => status.node === node))
    const member = self.members.find((one) => one.node === node)
    // A witness holds no data: there is nothing of it to plot.
    if (shard === undefined && member === undefined) continue
    nodes[node] = sampleNode(node, shard, member, primary, committed)
  }
  const commits = primary?.shard.commits
  return { atMs, nodes, ...(commits === undefined ? {} : { commits }) }
}

function sampleNode(
  node: string,
  shard: ShardStatus | undefined,
  member: MemberStatus | undefined,
  primary: Primary | undefined,
  committed: number | undefined,
): NodeSample {
  const { applied, durable } = endsOf(shard, member)
  const sample = applied === undefined ? {} : { applied }
  if (node === primary?.node || (primary === undefined && member?.role === 'primary')) {
    return { ...sample, lagEntries: 0, lagMs: 0 }
  }
  const follower = primary?.shard.followers.find((one) => one.node === node)
  const behind = durable === undefined || committed === undefined ? undefined : Math.max(0, committed - durable)
  const lagEntries = follower?.connected === true ? follower.lagEntries : behind
  // What a primary knows of a standby that is away gets no older by itself.
  const lagMs = follower?.connected === true ? follower.lagMs : shard?.lagMs
  return {
    ...sample,
    ...(lagEntries === undefined ? {} : { lagEntries }),
    ...(lagMs === undefined ? {} : { lagMs }),
  }
}

/** Before its data are open a node knows nothing of itself: that is no zero. */
function endsOf(
  shard: ShardStatus | undefined,
  member: MemberStatus | undefined,
): { readonly applied: number | undefined; readonly durable: number | undefined } {
  if (shard === undefined) {
    return { applied: member?.durable === undefined ? undefined : member.applied, durable: member?.durable }
  }
  if (shard.position === undefined) return { applied: undefined, durable: undefined }
  return { applied: shard.sequence.applied, durable: shard.sequence.durable }
}

interface Primary {
  readonly node: string
  readonly shard: ShardStatus
}

/** The one of the highest epoch, if several believe it. */
function primaryOf(statuses: readonly NodeStatus[]): Primary | undefined {
  let found: Primary | undefined
  for (const status of statuses) {
    const shard = shardOf(status)
    if (shard?.role !== 'primary' || shard.epoch === undefined) continue
    if (found === undefined || compareEpochs(shard.epoch, found.shard.epoch!) > 0) found = { node: status.node, shard }
  }
  return found
}

/** Every node hosts one shard; a witness none. */
function shardOf(status: NodeStatus | undefined): ShardStatus | undefined {
  return status?.shards[0]
}
