import { compareEpochs, type Epoch, type Position, sameEpoch } from './position.js'

export type Durability = 'local' | 'standby'

/** A data directory of a node: wiped and rebuilt, it is another member even under the same name. */
export interface Member {
  readonly node: string
  /** 32 hexadecimal digits, new at every creation or bootstrap of the directory. */
  readonly incarnation: string
}

/** Fixed when the shard is created; a node configured otherwise is refused (S7). */
export interface ShardSettings {
  readonly durability: Durability
  readonly inSyncMin: number
  /** How long a silent primary keeps its place; all times of failure detection follow from it (core/timings.ts). */
  readonly failoverMs: number
  /** A member of the in-sync set that is behind or away for this long leaves it, if a coordinator keeps the set. */
  readonly inSyncTimeoutMs: number
}

/**
 * What the coordinator holds for a shard. Within an epoch only the primary changes it, by compare-and-swap on
 * `version`; a new primary raises `epoch`. `inSync` includes the primary.
 */
export interface ShardRecord {
  readonly historyId: string
  /** Random id of the coordinator that made the record: records of two coordinators are never compared (S6). */
  readonly coordinatorId: string
  readonly epoch: Epoch
  readonly primary: Member
  readonly inSync: readonly Member[]
  readonly version: number
  /** 32 hexadecimal digits, new with each write of the record: a writer knows its own by it, whatever the reply was. */
  readonly nonce: string
  readonly settings: ShardSettings
  /**
   * Committed position when the record was written: a journal that ends below it, or has another chain there, is
   * never promoted (C5).
   */
  readonly floor: Position
  /**
   * The last epoch that began by a forced promotion which may have left committed entries behind; `epochZero` if none
   * did. Entries of an earlier epoch that this history lacks may be undone, whenever their node comes back (C5).
   */
  readonly lossySince: Epoch
  /** True if the primary before gave up its lease and named this one: nobody's promise is to be waited out (L5). */
  readonly handedOver: boolean
  /**
   * Static coordinator: names of all nodes that take part, fixed with the history; they win over what a configuration
   * says (S6). Empty where a coordinator decides: there membership is dynamic.
   */
  readonly voters: readonly string[]
}

export function sameMember(a: Member, b: Member): boolean {
  return a.node === b.node && a.incarnation === b.incarnation
}

export function hasMember(members: readonly Member[], member: Member): boolean {
  return members.some((one) => sameMember(one, member))
}

export function sameSettings(a: ShardSettings, b: ShardSettings): boolean {
  return (
    a.durability === b.durability &&
    a.inSyncMin === b.inSyncMin &&
    a.failoverMs === b.failoverMs &&
    a.inSyncTimeoutMs === b.inSyncTimeoutMs
  )
}

/** Members of either set, once each: what commits wait for while a change is under way (C3). */
export function unionMembers(a: readonly Member[], b: readonly Member[]): Member[] {
  return [...a, ...b.filter((member) => !hasMember(a, member))]
}

export function formatSettings(settings: ShardSettings): string {
  const { durability, inSyncMin, failoverMs, inSyncTimeoutMs } = settings
  return `durability ${durability}, inSyncMin ${inSyncMin}, failoverMs ${failoverMs}, inSyncTimeoutMs ${inSyncTimeoutMs}`
}

/** The later of two records of one history: a higher epoch, or a later change within it. */
export function newerRecord(a: ShardRecord | undefined, b: ShardRecord | undefined): ShardRecord | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return compareRecords(a, b) >= 0 ? a : b
}

/** Did the record's own epoch begin by a forced promotion that may have lost something? */
export function isLossy(record: ShardRecord): boolean {
  return sameEpoch(record.lossySince, record.epoch)
}

export function compareRecords(a: ShardRecord, b: ShardRecord): number {
  return compareEpochs(a.epoch, b.epoch) || a.version - b.version
}
