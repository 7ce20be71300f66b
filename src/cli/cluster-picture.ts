import { parseCoordinator } from '../config/coordinator.js'
import { compareEpochs, formatEpoch } from '../core/position.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { VoterStatus } from '../ports/voter.js'
import type { MemberStatus, NodeStatus, ShardStatus } from '../runtime/handle.js'
import { describeFailover, type FailoverPicture, type ShardAnswer } from './failover-picture.js'
import { askStatus, type NodeAddress } from './node-client.js'

export interface NodePicture {
  readonly node: string
  readonly url: string
  /** What it said of itself; undefined if it does not answer here. */
  readonly status: NodeStatus | undefined
  readonly error: UnderstudyError | undefined
  /** What the node that was asked first knows of it. */
  readonly member: MemberStatus | undefined
}

export interface NodeRow {
  readonly node: string
  readonly url: string
  /** False: the rest is what the node that was asked knows of it. */
  readonly answers: boolean
  readonly role: string | undefined
  readonly state: string | undefined
  readonly reason: string | undefined
  readonly epoch: string | undefined
  readonly position: string | undefined
  readonly durable: number | undefined
  readonly committed: number | undefined
  readonly applied: number | undefined
  readonly lagEntries: number | undefined
  readonly lagBytes: number | undefined
  readonly lagMs: number | undefined
  readonly inSync: boolean
  readonly since: string | undefined
  readonly lastSeenMs: number | undefined
  readonly error: string | undefined
}

export interface ShardPicture extends FailoverPicture {
  readonly shard: string
  readonly primary: string | undefined
  readonly epoch: string | undefined
  readonly inSync: readonly string[]
  readonly recordVersion: number | undefined
  readonly settings: ShardStatus['settings'] | undefined
  readonly nodes: readonly NodeRow[]
}

export interface ClusterPicture {
  readonly cluster: string
  /** The node that was asked first. */
  readonly asked: string
  readonly url: string
  /** Worst first; empty when all is well. */
  readonly warnings: readonly string[]
  readonly shards: readonly ShardPicture[]
  readonly nodes: readonly NodePicture[]
  /** Of the builtin coordinator, where one of the nodes that answer hosts it. */
  readonly voter: VoterStatus | undefined
}

/** Asks one node, and beside it all members that it names. Throws only if the first does not answer. */
export async function takePicture(first: NodeAddress): Promise<ClusterPicture> {
  const status = await askStatus(first)
  const own: NodePicture = { node: status.node, url: first.url, status, error: undefined, member: undefined }
  const known = [...status.members, ...votersBeside(status)]
  const others = await Promise.all(known.map((member) => askMember(member, status, first)))
  const nodes = [own, ...others].sort((a, b) => (a.node < b.node ? -1 : 1))
  const withData = nodes.filter(
    (node) => node.status?.voter?.witness !== true && (node === own || node.member !== undefined),
  )
  const names = new Set(nodes.flatMap((node) => node.status?.shards.map(({ shard }) => shard) ?? []))
  const shards = [...names].map((shard) => describe(shard, withData))
  return {
    cluster: status.cluster,
    asked: status.node,
    url: first.url,
    warnings: collectWarnings(nodes, shards),
    shards,
    nodes,
    voter: nodes.map((node) => node.status?.voter).find((voter) => voter !== undefined),
  }
}

/** A witness is no member: the coordinator's address names it. */
function votersBeside({ node, coordinator, members }: NodeStatus): ReadonlyArray<MemberAddress> {
  const parsed = parseCoordinator(coordinator).coordinator
  if (parsed?.kind !== 'builtin') return []
  return parsed.voters.filter((voter) => voter.node !== node && !members.some((one) => one.node === voter.node))
}

async function askMember(
  known: MemberStatus | MemberAddress,
  asked: NodeStatus,
  first: NodeAddress,
): Promise<NodePicture> {
  // All nodes of a cluster speak TLS, or none does.
  const url = `${first.url.startsWith('https:') ? 'https' : 'http'}://${known.address}`
  const member = 'reachable' in known ? known : undefined
  const base = { node: known.node, url, member }
  try {
    const status = await askStatus({ ...first, url })
    if (status.node !== known.node || status.cluster !== asked.cluster) {
      throw new UnderstudyError(
        'CLUSTER_MISMATCH',
        `node ${status.node} of cluster ${status.cluster} answers at ${url}, where ${asked.node} expects ${known.node} of cluster ${asked.cluster}`,
      )
    }
    return { ...base, status, error: undefined }
  } catch (error) {
    return { ...base, status: undefined, error: toUnderstudyError(error, `asking ${known.node}`) }
  }
}

function describe(shard: string, nodes: readonly NodePicture[]): ShardPicture {
  const answers = nodes.flatMap(({ node, status }): ShardAnswer[] => {
    const found = status?.shards.find((one) => one.shard === shard)
    return found === undefined ? [] : [{ node, coordinator: status!.coordinator, shard: found }]
  })
  // The newest record wins: the highest epoch, and within it the last change.
  const newest = answers
    .map((answer) => answer.shard)
    .filter((one) => one.epoch !== undefined)
    .sort((a, b) => compareEpochs(b.epoch!, a.epoch!) || (b.recordVersion ?? 0) - (a.recordVersion ?? 0))[0]
  const primary = answers
    .filter((answer) => answer.shard.role === 'primary')
    .sort((a, b) => compareEpochs(b.shard.epoch!, a.shard.epoch!))[0]
  const inSync = newest?.inSync ?? []
  return {
    shard,
    primary: primary?.node,
    epoch: newest?.epoch === undefined ? undefined : formatEpoch(newest.epoch),
    inSync,
    recordVersion: newest?.recordVersion,
    settings: newest?.settings ?? answers[0]?.shard.settings,
    ...describeFailover(answers, inSync),
    nodes: nodes.map((node) => rowOf(node, shard, primary?.shard, inSync.includes(node.node))),
  }
}

function rowOf(picture: NodePicture, name: string, primary: ShardStatus | undefined, inSync: boolean): NodeRow {
  const { node, url, status, error } = picture
  // What others know of a node that answers is older than what it says of itself.
  const member = status === undefined ? picture.member : undefined
  const shard = status?.shards.find((one) => one.shard === name)
  const follower = primary?.followers.find((one) => one.node === node)
  const isPrimary = shard !== undefined && shard === primary
  const durable = shard?.sequence.durable ?? member?.durable
  const behind =
    primary === undefined || durable === undefined ? undefined : Math.max(0, primary.sequence.committed - durable)
  const epoch = shard?.epoch ?? member?.epoch
  return {
    node,
    url,
    answers: status !== undefined,
    role: shard?.role ?? member?.role,
    state: shard?.state ?? member?.state,
    reason: shard?.reason,
    epoch: epoch === undefined ? undefined : formatEpoch(epoch),
    position: shard?.position,
    durable,
    committed: shard?.sequence.committed,
    applied: shard?.sequence.applied ?? member?.applied,
    lagEntries: isPrimary ? 0 : (follower?.lagEntries ?? behind),
    lagBytes: isPrimary ? 0 : follower?.lagBytes,
    // What a primary knows of a standby that is away gets no older by itself.
    lagMs: isPrimary ? 0 : follower?.connected === true ? follower.lagMs : shard?.lagMs,
    inSync,
    since: shard?.since,
    lastSeenMs: status === undefined ? member?.lastSeenMs : undefined,
    error: error?.message,
  }
}

function collectWarnings(nodes: readonly NodePicture[], shards: readonly ShardPicture[]): string[] {
  const warnings: string[] = []
  for (const { shard, nodes: rows } of shards) {
    const primaries = rows.filter((row) => row.role === 'primary' && row.answers)
    if (primaries.length > 1) {
      const list = primaries.map((row) => `${row.node} in epoch ${row.epoch}`).join(', ')
      warnings.push(
        `shard ${shard} has ${primaries.length} primaries (${list}): only the one of the highest epoch commits`,
      )
    }
    const leads = (row: NodeRow): boolean =>
      row.role === 'primary' && (row.answers || nodes.find(({ node }) => node === row.node)?.member?.reachable === true)
    if (!rows.some(leads)) {
      warnings.push(`shard ${shard} has no primary: writes wait`)
    }
    for (const row of rows) {
      if (row.answers && (row.state === 'failed' || row.state === 'fenced')) {
        warnings.push(`${row.node} is ${row.state}: ${row.reason}`)
      }
    }
  }
  for (const { node, error, member } of nodes) {
    if (error === undefined) continue
    const seen = member?.reachable === true ? '; the node that was asked reaches it' : ''
    warnings.push(`${node}: ${error.code}: ${error.message}${seen}`)
  }
  for (const { status } of nodes) {
    const voter = status?.voter
    if (voter !== undefined && voter.state !== 'serving') {
      warnings.push(`voter ${voter.voter} is ${voter.state}: ${voter.reason ?? 'it has just begun'}`)
    }
  }
  const histories = new Set(nodes.flatMap(({ status }) => status?.shards[0]?.historyId ?? []))
  if (histories.size > 1) warnings.push(`the nodes hold ${histories.size} histories that never had a common beginning`)
  // Nodes of one cluster mostly say the same: once, with all who say it.
  const said = new Map<string, string[]>()
  for (const { node, status } of nodes) {
    for (const warning of status?.shards.flatMap((shard) => shard.warnings) ?? []) {
      said.set(warning, [...(said.get(warning) ?? []), node])
    }
  }
  for (const [warning, who] of said) warnings.push(`${who.join(', ')}: ${warning}`)
  return warnings
}
