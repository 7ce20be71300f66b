/** What the world can do to a cluster. The injector does it, the report counts it. */
export const faultKinds = [
  /** The process ends; the page cache stays. */
  'crash',
  /** Of what was not synced any part is there afterwards. */
  'power-loss',
  'power-loss-all',
  /** Closed and started again in an orderly way. */
  'restart',
  /** The process stands still, and goes on. */
  'stall',
  'partition-node',
  'partition-pair',
  'partition-one-way',
  'partition-halves',
  'slow-link',
  'connection-drop',
  'disk-slow',
  'disk-sync-fails',
  'disk-write-fails',
  'disk-full',
  /** Bytes of the journal below what was flushed, at rest. */
  'bit-rot',
  /** Once, a read answers with other bytes of the file. */
  'misdirected-read',
  'wipe',
  /** A second process under the name of a running one, on a disk of its own. */
  'second-process',
  'wall-clock-jump',
  'coordinator-slow',
  'coordinator-away',
  /** For one node. */
  'coordinator-cut',
  'coordinator-reply-lost',
  'coordinator-restart',
  /** Restored from a backup, until somebody brings the right store back. */
  'coordinator-rolled-back',
  'coordinator-wiped',
  'switchover',
  'promote',
  'remove-from-in-sync',
  /** By an operator who accepts that acknowledged writes are given up. */
  'promote-forced',
  /** Everything from and to a node is rejected: its connections are reset at once, and the coordinator is away as well. */
  'firewall-node',
] as const

export type FaultKind = (typeof faultKinds)[number]

export interface FaultConditions {
  readonly coordinator: 'memory' | 'builtin' | 'static'
  readonly durability: 'local' | 'standby'
  readonly inSyncMin: number
  readonly nodes: number
}

/** Whether a fault can be, and is survived, in such a cluster. */
export function faultNeeds(kind: FaultKind, conditions: FaultConditions): boolean {
  const { coordinator, durability, inSyncMin } = conditions
  switch (kind) {
    case 'bit-rot':
    case 'misdirected-read':
    case 'wipe':
    case 'second-process':
      // On one disk a lost disk is a lost write; by hand, nobody may be replaced without an operator.
      return durability === 'standby' && inSyncMin > 1 && coordinator !== 'static'
    case 'coordinator-slow':
    case 'coordinator-cut':
    case 'coordinator-reply-lost':
      return coordinator === 'memory'
    case 'coordinator-rolled-back':
    case 'coordinator-wiped':
      return coordinator === 'memory' && durability === 'standby'
    case 'coordinator-away':
    case 'coordinator-restart':
      return coordinator !== 'static'
    case 'promote':
      return coordinator === 'static'
    case 'switchover':
    case 'remove-from-in-sync':
      return coordinator !== 'static'
    default:
      return true
  }
}
