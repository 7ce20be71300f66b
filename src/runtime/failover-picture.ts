import {
  type CoordinatorReach,
  type CoordinatorVoter,
  type FailoverCandidate,
  judgeFailover,
  type Outsider,
  warnOfInSyncSet,
} from '../core/failover-status.js'
import { hasMember, type Member } from '../core/record.js'
import type { FollowerSession } from './follower-session.js'
import type { CoordinatorStatus, FailoverStatus } from './handle.js'
import type { ShardContext } from './shard-context.js'

export function coordinatorStatus(context: ShardContext): CoordinatorStatus {
  const { automatic, connected, lastError, connectionSince } = context.cluster
  return automatic === undefined
    ? { kind: 'static', connected: true, since: undefined, lastError: undefined }
    : { kind: 'automatic', connected, since: connectionSince, lastError: connected ? undefined : lastError?.message }
}

/** "Can we fail over now?", with what this node knows of the others. */
export function failoverStatus(context: ShardContext, followers: readonly FollowerSession[]): FailoverStatus {
  // A standby that lost its primary learns of the newest record from the coordinator or from another member.
  const record = context.primary === undefined ? context.newestRecord : context.record
  return judgeFailover({
    self: context.config.node,
    coordinator: reachOf(coordinatorStatus(context)),
    record,
    inSync: context.primary === undefined ? (record?.inSync ?? []) : certainMembers(context),
    primaryAnswers: primaryAnswers(context, record?.primary.node),
    others: othersOf(context, record?.primary.node, followers),
    committed: context.data?.committed ?? 0,
    voters: votersOf(context),
  })
}

/** What an operator should know of failover now, worst first. */
export function failoverWarnings(context: ShardContext, followers: readonly FollowerSession[]): string[] {
  const warnings: string[] = []
  const { kind, connected, since, lastError } = coordinatorStatus(context)
  if (kind === 'static') return warnings
  if (!connected) {
    const why = lastError === undefined ? '' : `: ${lastError}`
    const stands = 'nobody takes over and the in-sync set cannot change until it is back'
    warnings.push(`the coordinator cannot be reached since ${since}${why}; ${stands}`)
  }
  const last = context.failovers.at(-1)
  if (last?.mayLose !== undefined) {
    const { entries, reason } = last.mayLose
    const count = entries === undefined ? 'entries, how many is not known' : `${entries} entries`
    warnings.push(
      `epoch ${last.epoch.number}@${last.epoch.node} (${last.kind}, ${last.at}) may have lost ${count}: ${reason}`,
    )
  }
  const { primary } = context
  if (primary === undefined) return warnings
  if (primary.isHandingOver && !connected) {
    warnings.push('writes wait: a switchover is under way, and only the coordinator knows whether it has happened')
  }
  const members = primary.inSync.members
  warnings.push(...warnOfInSyncSet(primary.inSync.record, members, outsidersOf(context, members, followers)))
  return warnings
}

function reachOf({ kind, connected, lastError }: CoordinatorStatus): CoordinatorReach {
  if (kind === 'static') return { kind: 'static' }
  return connected ? { kind: 'connected' } : { kind: 'disconnected', error: lastError }
}

/** One that takes part in the coordinator alone is no peer: whether the coordinator answers is all that is known of it. */
function votersOf({ cluster, config, peers }: ShardContext): readonly CoordinatorVoter[] {
  return (cluster.automatic?.voters ?? []).map((node) => ({
    node,
    reachable: node === config.node || (peers.view(node)?.reachable ?? cluster.connected),
  }))
}

/** While a change is under way either set may be the one that a takeover finds. */
function certainMembers({ primary }: ShardContext): readonly Member[] {
  const { members, record } = primary!.inSync
  return members.filter((member) => hasMember(record.inSync, member))
}

function primaryAnswers(context: ShardContext, node: string | undefined): boolean {
  if (node === undefined) return false
  if (context.primary !== undefined) return true
  return context.standby !== undefined || context.peers.view(node)?.reachable === true
}

function othersOf(
  context: ShardContext,
  primary: string | undefined,
  followers: readonly FollowerSession[],
): readonly FailoverCandidate[] {
  const candidates: FailoverCandidate[] = []
  const { self } = context
  if (self !== undefined && self.node !== primary) {
    const durable = context.data?.journal.durable
    candidates.push({ member: self, reachable: true, state: context.state, durable })
  }
  const names = [...context.peers.views.map(({ node }) => node), ...followers.map(({ member }) => member.node)]
  for (const node of new Set(names)) {
    if (node === primary || node === context.config.node) continue
    const view = context.peers.view(node)
    const told = view?.reachable === true ? view.state?.state : undefined
    const follower = followers.find((one) => one.member.node === node)
    if (follower !== undefined) {
      const epoch = view?.state?.durable?.epoch ?? follower.epoch
      const durable = { epoch, sequence: follower.status().durable }
      candidates.push({ member: follower.member, reachable: true, state: told, durable })
    } else if (view?.state !== undefined) {
      const { member, durable } = view.state
      candidates.push({ member, reachable: view.reachable, state: told, durable })
    }
  }
  return candidates
}

function outsidersOf(
  context: ShardContext,
  inSync: readonly Member[],
  followers: readonly FollowerSession[],
): readonly Outsider[] {
  const outsiders: Outsider[] = []
  for (const node of new Set(context.configuredNames)) {
    if (node === context.config.node || inSync.some((member) => member.node === node)) continue
    const view = context.peers.view(node)
    const follower = followers.find((one) => one.member.node === node)
    outsiders.push({
      node,
      reachable: view?.reachable ?? false,
      follows: follower !== undefined,
      state: view?.state?.state,
      lagEntries: follower?.status().lagEntries,
      left: context.inSyncNotes.of(node),
    })
  }
  return outsiders
}
