import { compareEpochs, formatEpoch } from '#src/core/position.js'
import { mergeFailoverAnswers } from '#src/core/told-failover.js'
import type { FailoverStatus, MemberStatus, NodeStatus, ShardStatus } from '../../../src/runtime/handle.js'
import type { LivePicture, NodeSample, PeerAnswer } from '../../../src/server/live-picture.js'
import { type BootstrapView, bootstrapView } from './bootstrap-view.js'
import { formatAge, formatBytes, formatMs, formatShort, plural } from './format.js'

export type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'quiet'

export interface NodeView {
  readonly node: string
  readonly address: string | undefined
  /** It said so itself; otherwise the figures are what the serving node knows of it. */
  readonly answers: boolean
  /** Somebody reaches it, be it only the serving node's session. */
  readonly reachable: boolean
  readonly isServing: boolean
  readonly role: string | undefined
  readonly state: string | undefined
  readonly tone: Tone
  readonly reason: string | undefined
  readonly epoch: string | undefined
  readonly since: string | undefined
  readonly sinceMs: number | undefined
  readonly inSync: boolean
  readonly position: string | undefined
  readonly sequence: {
    readonly appended: number | undefined
    readonly durable: number | undefined
    readonly committed: number | undefined
    readonly applied: number | undefined
  }
  readonly lag: { readonly entries?: number; readonly bytes?: number; readonly ms?: number }
  /** In words: "up to date". */
  readonly lagText: string
  /** In figures: "3 entries · 1.2 KiB · 4 ms behind". */
  readonly lagFigures: string
  readonly lastSeenMs: number | undefined
  readonly error: string | undefined
  readonly bootstrap: BootstrapView | undefined
  readonly engine: string | undefined
  readonly version: string | undefined
}

export interface ClusterView {
  readonly cluster: string
  readonly servedBy: string
  readonly version: string
  readonly atMs: number
  /** The serving node holds no data: it knows little of the others. */
  readonly isWitness: boolean
  readonly primary: string | undefined
  readonly epoch: string | undefined
  readonly nodes: readonly NodeView[]
  readonly inSync: readonly string[]
  readonly inSyncMin: number | undefined
  readonly recordVersion: number | undefined
  readonly durability: string | undefined
  readonly failoverMs: number | undefined
  readonly coordinator: {
    readonly kind: 'static' | 'automatic' | undefined
    readonly description: string
    /** Nodes that cannot reach it, with since when and why. */
    readonly unreachableFrom: readonly string[]
    readonly since: string | undefined
    readonly error: string | undefined
  }
  readonly failover: (FailoverStatus & { readonly saidBy: string }) | undefined
  readonly commits: ShardStatus['commits']
  readonly shards: ReadonlyArray<{ readonly node: string; readonly shard: ShardStatus }>
}

export function viewCluster(picture: LivePicture): ClusterView {
  const { self, peers, sample, atMs } = picture
  const statuses = [self, ...peers.flatMap(({ status }) => status ?? [])]
  const shards = statuses.flatMap((status) => {
    const shard = status.shards[0]
    return shard === undefined ? [] : [{ node: status.node, shard }]
  })
  const byEpoch = shards
    .filter(({ shard }) => shard.epoch !== undefined)
    .sort(
      (a, b) =>
        compareEpochs(b.shard.epoch!, a.shard.epoch!) || (b.shard.recordVersion ?? 0) - (a.shard.recordVersion ?? 0),
    )
  const primary = byEpoch.find(({ shard }) => shard.role === 'primary')
  const leads = primary?.node ?? self.members.find(({ role, reachable }) => role === 'primary' && reachable)?.node
  const newest = primary ?? byEpoch[0] ?? shards[0]
  const members = newest?.shard.inSync ?? self.members.filter((member) => member.inSync).map(({ node }) => node)
  // By name, the primary first: whoever joined first is no matter.
  const inSync = [...members].sort((a, b) => Number(b === leads) - Number(a === leads) || (a < b ? -1 : 1))
  const named = new Map<string, MemberStatus | undefined>()
  if (self.voter?.witness !== true) named.set(self.node, undefined)
  for (const member of self.members) named.set(member.node, member)
  for (const status of statuses)
    if (status.shards.length > 0 && !named.has(status.node)) named.set(status.node, undefined)
  const nodes = [...named]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([node, member]) =>
      viewNode({
        node,
        member,
        status: statuses.find((status) => status.node === node),
        peer: peers.find((peer) => peer.node === node),
        self,
        primary: primary?.shard,
        isPrimary: node === leads,
        sample: sample.nodes[node],
        inSync: inSync.includes(node),
        atMs,
      }),
    )
  const away = shards.filter(({ shard }) => !shard.coordinator.connected)
  return {
    cluster: self.cluster,
    servedBy: self.node,
    version: self.version,
    atMs,
    isWitness: self.voter?.witness === true,
    primary: leads,
    epoch: newest?.shard.epoch === undefined ? undefined : formatEpoch(newest.shard.epoch),
    nodes,
    inSync,
    inSyncMin: newest?.shard.settings.inSyncMin,
    recordVersion: newest?.shard.recordVersion,
    durability: newest?.shard.settings.durability,
    failoverMs: newest?.shard.settings.failoverMs,
    coordinator: {
      kind: newest?.shard.coordinator.kind,
      description: self.coordinator,
      unreachableFrom: away.map(({ node }) => node),
      since: away[0]?.shard.coordinator.since,
      error: away[0]?.shard.coordinator.lastError,
    },
    failover: mergeFailoverAnswers(shards, inSync),
    commits: primary?.shard.commits ?? sample.commits,
    shards,
  }
}

interface NodeParts {
  readonly node: string
  readonly member: MemberStatus | undefined
  readonly status: NodeStatus | undefined
  readonly peer: PeerAnswer | undefined
  readonly self: NodeStatus
  readonly primary: ShardStatus | undefined
  readonly isPrimary: boolean
  readonly sample: NodeSample | undefined
  readonly inSync: boolean
  readonly atMs: number
}

function viewNode(parts: NodeParts): NodeView {
  const { node, member, status, peer, self, primary, sample, inSync, atMs } = parts
  const shard = status?.shards[0]
  const follower = primary?.followers.find((one) => one.node === node)
  const isServing = node === self.node
  const reachable = isServing || status !== undefined || member?.reachable === true
  const role = shard?.role ?? member?.role
  const state = shard?.state ?? member?.state
  const epoch = shard?.epoch ?? member?.epoch
  const lag = {
    ...(sample?.lagEntries === undefined ? {} : { entries: sample.lagEntries }),
    ...(sample?.lagMs === undefined ? {} : { ms: sample.lagMs }),
    ...(follower?.connected === true ? { bytes: follower.lagBytes } : {}),
  }
  return {
    node,
    address: status?.advertise ?? member?.address,
    answers: status !== undefined,
    reachable,
    isServing,
    role,
    state,
    tone: toneOf(state, reachable),
    reason: shard?.reason,
    epoch: epoch === undefined ? undefined : formatEpoch(epoch),
    since: shard?.since,
    sinceMs: shard === undefined ? undefined : Math.max(0, atMs - Date.parse(shard.since)),
    inSync,
    position: shard?.position,
    sequence: sequenceOf(shard, member),
    lag,
    lagText: lagTextOf(parts, state, reachable, lag),
    lagFigures: parts.isPrimary ? commitFigures(shard) : lagFiguresOf(reachable, state, lag),
    lastSeenMs: reachable ? undefined : member?.lastSeenMs,
    error: reachable ? undefined : (peer?.error ?? 'it does not answer'),
    bootstrap: bootstrapView(shard, state),
    engine: status?.engine,
    version: status?.version,
  }
}

function toneOf(state: string | undefined, reachable: boolean): Tone {
  if (!reachable || state === 'failed' || state === 'fenced') return 'bad'
  if (state === 'primary' || state === 'streaming') return 'good'
  if (state === 'bootstrapping' || state === 'catching-up' || state === 'promoting' || state === 'demoting')
    return 'busy'
  return state === undefined ? 'quiet' : 'warn'
}

/** Below this nobody needs to know how far a standby is behind: that is replication at work. */
export const freshMs = 250

function lagTextOf(
  { isPrimary, primary }: NodeParts,
  state: string | undefined,
  reachable: boolean,
  { entries, ms }: NodeView['lag'],
): string {
  if (!reachable) return 'not known while it does not answer'
  if (isPrimary) return 'takes the writes'
  if (state === 'bootstrapping') return 'being built'
  if (entries === undefined && ms === undefined)
    return primary === undefined ? 'no primary to compare with' : 'not known'
  if (entries === 0) return state === 'streaming' ? 'up to date' : 'has everything'
  if (state === 'streaming' && ms !== undefined && ms < freshMs) return 'up to date'
  return ms === undefined || ms < freshMs ? 'behind' : `${formatMs(ms)} behind`
}

function lagFiguresOf(reachable: boolean, state: string | undefined, { entries, bytes, ms }: NodeView['lag']): string {
  if (!reachable || state === 'bootstrapping') return ''
  const figures = [
    ...(entries === undefined ? [] : [plural(entries, 'entry', 'entries')]),
    ...(bytes === undefined ? [] : [formatBytes(bytes)]),
    ...(ms === undefined ? [] : [formatMs(ms)]),
  ]
  return figures.length === 0 ? '' : `${figures.join(' · ')} behind`
}

function commitFigures(shard: ShardStatus | undefined): string {
  if (shard === undefined) return ''
  const { commits } = shard
  if (commits === undefined) return 'no writes in the last seconds'
  const { perSecond, p50Ms, p99Ms } = commits
  return `${formatShort(perSecond)} commits/s · p50 ${formatMs(p50Ms)} · p99 ${formatMs(p99Ms)}`
}

function sequenceOf(shard: ShardStatus | undefined, member: MemberStatus | undefined): NodeView['sequence'] {
  const none = { appended: undefined, durable: undefined, committed: undefined, applied: undefined }
  if (shard === undefined) {
    return { ...none, durable: member?.durable, applied: member?.durable === undefined ? undefined : member.applied }
  }
  // Before its data are open a node knows nothing of itself: that is no zero.
  return shard.position === undefined ? none : shard.sequence
}

/** "for 3 min": how long it is as it is. */
export function sinceText(view: NodeView): string {
  if (!view.reachable)
    return view.lastSeenMs === undefined ? 'never seen' : `last seen ${formatAge(view.lastSeenMs)} ago`
  return view.sinceMs === undefined ? '' : `for ${formatAge(view.sinceMs)}`
}
