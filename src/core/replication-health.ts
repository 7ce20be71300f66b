import type { LifecycleState, Role } from './lifecycle.js'

/** What a node says of one shard, as far as its health depends on it. */
export interface ReplicationPicture {
  readonly role: Role
  readonly state: LifecycleState
  /** Why it is in this state, for people. */
  readonly reason: string
  readonly node: string
  /** Nodes that hold a write before it is acknowledged, by the settings. */
  readonly inSyncMin: number
  readonly inSync: readonly string[]
  /** Standbys that are connected to this node as primary. */
  readonly connected: readonly string[]
  readonly appended: number
  readonly committed: number
  /** How old the data of a standby may be; undefined while that is not known. */
  readonly lagMs: number | undefined
}

export type ReplicationHealth = { readonly healthy: true } | { readonly healthy: false; readonly reason: string }

/**
 * Whether writes really reach other nodes, seen from here. Being connected is not enough: what had been appended at
 * the look before (`appendedBefore`) must be committed by now, and a standby must be fresh (F43).
 */
export function replicationHealth(
  picture: ReplicationPicture,
  before: { readonly appended: number } | undefined,
  lagMsMax: number,
): ReplicationHealth {
  const { role, state, reason, node, inSync, connected, committed, lagMs } = picture
  if (role === 'primary') {
    const needed = Math.max(2, picture.inSyncMin)
    const present = inSync.filter((member) => member === node || connected.includes(member))
    if (present.length < needed) {
      return unhealthy(
        `${present.length} of at least ${needed} nodes are in sync and connected (${present.join(', ')})`,
      )
    }
    if (before !== undefined && committed < before.appended) {
      return unhealthy(`entry ${before.appended} is not committed yet; ${committed} is the last that is`)
    }
    return { healthy: true }
  }
  if (role !== 'standby' || state !== 'streaming') return unhealthy(`${state}: ${reason}`)
  if (lagMs === undefined) return unhealthy('how old the data here is, is not known')
  if (lagMs > lagMsMax) return unhealthy(`the data here may be ${Math.round(lagMs)} ms old; ${lagMsMax} are allowed`)
  return { healthy: true }
}

function unhealthy(reason: string): ReplicationHealth {
  return { healthy: false, reason }
}
