import type { Failure } from './failure.js'
import { limits } from './limits.js'
import { compareEpochs, type Epoch, formatEpoch } from './position.js'
import { formatSettings, type ShardRecord, type ShardSettings, sameSettings } from './record.js'

/** What both sides must agree on before anything else is said. */
export interface Identity {
  readonly cluster: string
  readonly node: string
  readonly shard: string
  /** Undefined while the directory is empty. */
  readonly historyId: string | undefined
  readonly coordinatorId: string | undefined
  readonly settings: ShardSettings
}

/** Newest protocol version that both speak. */
export function chooseProtocol(peer: { readonly protocolMin: number; readonly protocolMax: number }): number | Failure {
  const { protocolVersion, protocolVersionMin } = limits
  const newest = Math.min(protocolVersion, peer.protocolMax)
  if (newest >= Math.max(protocolVersionMin, peer.protocolMin)) return newest
  return {
    code: 'PROTOCOL_VERSION',
    message: `this node speaks protocol versions ${protocolVersionMin} to ${protocolVersion}, the other ${peer.protocolMin} to ${peer.protocolMax}`,
    hint: 'upgrade the older node; releases speak the version before their own',
  }
}

/** Checkpoint files (frames 70 on) may be asked for from this version on. */
export const checkpointProtocol = 2

/** Every mismatch names both sides; none is repaired by guessing. */
export function refuseIdentity(own: Identity, peer: Identity): Failure | undefined {
  if (own.cluster !== peer.cluster) {
    return {
      code: 'CLUSTER_MISMATCH',
      message: `this node (${own.node}) belongs to cluster ${own.cluster}, the other (${peer.node}) to ${peer.cluster}`,
      hint: 'check the option cluster and the address',
    }
  }
  if (own.shard !== peer.shard) {
    return { code: 'UNKNOWN_SHARD', message: `this connection serves shard ${own.shard}, asked for ${peer.shard}` }
  }
  if (own.node === peer.node) {
    return {
      code: 'CONFIG',
      message: `two nodes are named ${own.node}`,
      hint: 'node names are unique in a cluster; check the option node and the addresses of the members',
    }
  }
  if (own.historyId !== undefined && peer.historyId !== undefined && own.historyId !== peer.historyId) {
    return {
      code: 'HISTORY_MISMATCH',
      message: `${own.node} holds history ${own.historyId}, ${peer.node} holds ${peer.historyId}: they never had a common beginning`,
      hint: 'one of the directories is not of this cluster; to give it up, rebuild it with `understudy bootstrap --replace`',
    }
  }
  if (own.coordinatorId !== undefined && peer.coordinatorId !== undefined && own.coordinatorId !== peer.coordinatorId) {
    return {
      code: 'COORDINATOR_MISMATCH',
      message: `${own.node} knows coordinator ${own.coordinatorId}, ${peer.node} knows ${peer.coordinatorId}`,
    }
  }
  if (!sameSettings(own.settings, peer.settings)) {
    return {
      code: 'SETTINGS_MISMATCH',
      message: `${own.node} has ${formatSettings(own.settings)}, ${peer.node} has ${formatSettings(peer.settings)}`,
      hint: 'shard settings are fixed when the shard is created: configure all nodes alike',
    }
  }
  return undefined
}

/** A node configured otherwise than the record of its shard is refused (S7). */
export function refuseSettings(record: ShardRecord, configured: ShardSettings): Failure | undefined {
  if (sameSettings(record.settings, configured)) return undefined
  return {
    code: 'SETTINGS_MISMATCH',
    message: `this shard was created with ${formatSettings(record.settings)}, the configuration says ${formatSettings(configured)}`,
    hint: 'shard settings are fixed at creation; configure what the shard has',
  }
}

/** A peer that follows or feeds must not have promised a higher epoch than the one it is spoken to in. */
export function refuseEpoch(epoch: Epoch, promised: Epoch, who: string): Failure | undefined {
  if (compareEpochs(epoch, promised) >= 0) return undefined
  return {
    code: 'STALE_EPOCH',
    message: `epoch ${formatEpoch(epoch)} is over: ${who} has promised ${formatEpoch(promised)}`,
  }
}
