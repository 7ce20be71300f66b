import { formatPosition } from '../core/position.js'
import { isLossy, sameMember } from '../core/record.js'
import { coordinatorStatus, failoverStatus, failoverWarnings } from './failover-picture.js'
import type { FollowerSession } from './follower-session.js'
import { lagBytesOf } from './follower-session.js'
import type { BootstrapStatus, FollowerStatus, ShardStanding, ShardStatus } from './handle.js'
import type { PrimaryRole } from './primary-role.js'
import type { ShardContext } from './shard-context.js'
import { standbySlot } from './slots.js'

export function standingOf(context: ShardContext): ShardStanding {
  const { data, record, primary } = context
  return {
    shard: context.config.name,
    role: context.role,
    state: context.state,
    reason: context.failure?.message ?? context.reason,
    historyId: context.historyId,
    epoch: primary?.epoch ?? record?.epoch,
    promised: context.promised,
    inSync: (primary?.inSync.members ?? record?.inSync ?? []).map((member) => member.node),
    recordVersion: record?.version,
    sequence: {
      appended: data?.journal.appended.sequence ?? 0,
      durable: data?.journal.durable.sequence ?? 0,
      committed: data?.committed ?? 0,
      applied: data?.applier.applied.sequence ?? 0,
      checkpoint: data?.checkpoint.sequence ?? 0,
    },
    lagMs: lagMsOf(context),
  }
}

/** The whole picture of one shard on this node, as `GET /v1/status` shows it. */
export function describeShard(
  context: ShardContext,
  followers: readonly FollowerSession[],
  bootstrap: BootstrapStatus | undefined,
): ShardStatus {
  const { data, record, primary, config } = context
  const journal = data?.journal
  const applied = data?.applier.applied
  return {
    ...standingOf(context),
    since: context.since,
    position: applied === undefined ? undefined : formatPosition(applied),
    settings: config.settings,
    primary:
      record === undefined ? undefined : { node: record.primary.node, address: context.addressOf(record.primary.node) },
    failover: failoverStatus(context, followers),
    coordinator: coordinatorStatus(context),
    failovers: context.failovers,
    commits: primary === undefined ? undefined : context.observer.commits.status,
    lease: primary?.lease?.heldMs === undefined ? undefined : { heldMs: primary.lease.heldMs },
    followers: followerStates(context, followers),
    slots: context.slots?.status ?? [],
    journal: {
      bytes: journal?.bytes ?? 0,
      segments: journal?.segments.length ?? 0,
      baseSequence: journal?.base.sequence ?? 0,
    },
    bootstrap,
    divergentFiles: context.divergent.status,
    warnings: warningsOf(context, followers),
  }
}

/** How old the data here may be. A primary's is that of all, unless it has lost its lease and another may lead. */
export function lagMsOf(context: ShardContext): number | undefined {
  const { primary } = context
  if (primary === undefined) return context.standby?.lagMs
  return primary.lease === undefined ? 0 : primary.lease.lagMs
}

/** Connected followers, and members of the set that are not connected. */
function followerStates(context: ShardContext, followers: readonly FollowerSession[]): FollowerStatus[] {
  const { primary, data } = context
  if (primary === undefined || data === undefined) return []
  const states = followers.map((follower) => follower.status())
  for (const member of primary.inSync.members) {
    if (member.node === context.config.node || states.some((state) => state.node === member.node)) continue
    const seen = context.slots?.status.find((slot) => slot.name === standbySlot(member.node))?.sequence ?? 0
    states.push({
      node: member.node,
      address: context.addressOf(member.node) ?? '',
      connected: false,
      inSync: true,
      state: 'disconnected',
      received: seen,
      durable: seen,
      applied: seen,
      lagEntries: Math.max(0, data.journal.appended.sequence - seen),
      lagBytes: lagBytesOf(data.journal, seen),
      lagMs: 0,
      since: context.since,
    })
  }
  return states
}

function withoutLease(primary: PrimaryRole): string {
  const silent = primary.inSync.waitedFor.filter(
    (member) => !sameMember(member, primary.inSync.self) && primary.lease?.hasPromise(member) === false,
  )
  const why =
    silent.length > 0
      ? `${silent.map((member) => member.node).join(', ')} promised nothing of late`
      : 'it is alone in its set, and its registration with the coordinator has run out'
  return `no read lease: ${why}; linearizable reads wait, then fail`
}

function warningsOf(context: ShardContext, followers: readonly FollowerSession[]): string[] {
  const { primary, record, config, failure } = context
  const warnings: string[] = []
  if (failure !== undefined) warnings.push(`failed: ${failure.message}`)
  warnings.push(...(context.slots?.warnings ?? []), ...context.divergent.warnings)
  const obstacle = primary?.obstacle
  if (obstacle !== undefined) warnings.push(obstacle)
  if (primary?.isReady === true && primary.lease?.isHeld === false) warnings.push(withoutLease(primary))
  warnings.push(...failoverWarnings(context, followers))
  if (record !== undefined && isLossy(record))
    warnings.push(`epoch ${record.epoch.number} began by a forced promotion: committed entries may have been lost`)
  if (record !== undefined && record.inSync.length === 1)
    warnings.push(`writes rest on one node only (${record.inSync[0]!.node})`)
  if (config.settings.durability === 'standby' && config.settings.inSyncMin < 2) {
    warnings.push('inSyncMin is 1: a write is acknowledged when it is on one node')
  }
  if (record !== undefined && context.cluster.automatic === undefined) {
    const strangers = context.configuredNames.filter((name) => !record.voters.includes(name))
    if (strangers.length > 0) {
      warnings.push(
        `${strangers.join(', ')}: configured here, but not among the nodes this history was created with (${record.voters.join(', ')})`,
      )
    }
  }
  return warnings
}
