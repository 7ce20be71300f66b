/**
 * What can go wrong in the world, by stable code. `outcome` answers the question that a writer asks: may my write
 * have happened? `none`: it has not and will not. `unknown`: it may have, or may still. `done`: it has.
 */
export type Outcome = 'none' | 'unknown' | 'done'

export const failureCodes = [
  'NOT_PRIMARY',
  'FENCED',
  'ACK_TIMEOUT',
  'BACKPRESSURE',
  'LAG_EXCEEDED',
  'DIVERGED',
  'TOO_OLD',
  'CORRUPTION',
  'DISK_FULL',
  'IO',
  'CONFIG',
  'CLOSED',
  'ABORTED',
  'TIMEOUT',
  'UNAVAILABLE',
  'NOT_READY',
  'LIMIT_EXCEEDED',
  'LOCKED',
  'FOREIGN_DIRECTORY',
  'ENGINE_MISMATCH',
  'FORMAT_VERSION',
  'PROTOCOL',
  'PROTOCOL_VERSION',
  'CLUSTER_MISMATCH',
  'HISTORY_MISMATCH',
  'SETTINGS_MISMATCH',
  'COORDINATOR_MISMATCH',
  'UNKNOWN_SHARD',
  'UNKNOWN_NODE',
  'UNKNOWN_FAMILY',
  'STALE_EPOCH',
  'STALE_INCARNATION',
  'UNAUTHORIZED',
  'ADDRESS_IN_USE',
  'PROMOTION_REFUSED',
  'SWITCHOVER_REFUSED',
  'BAD_REQUEST',
  /** The key, path or thing asked for does not exist. */
  'NOT_FOUND',
  /** A bug of ours reached the surface; its details are in the log. */
  'INTERNAL',
  /** Who asks is known, and may not do this. */
  'FORBIDDEN',
  /** Nodes cannot be compared now. */
  'VERIFY_REFUSED',
] as const

export type FailureCode = (typeof failureCodes)[number]

/** A failure as data, as the core decides it and as the wire carries it. */
export interface Failure {
  readonly code: FailureCode
  readonly message: string
  readonly hint?: string
}
