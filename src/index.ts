export type { Family } from './core/entry.js'
export type { FailureCode, Outcome } from './core/failure.js'
export type { LifecycleState, Role } from './core/lifecycle.js'
export { limits } from './core/limits.js'
export { type Epoch, formatPosition, type Position, parsePosition } from './core/position.js'
export type { Durability, ShardSettings } from './core/record.js'
export type { FamilyLevel } from './database/family-level.js'
export type { PositionLike, ReadOptions, WriteCallOptions } from './database/options.js'
export type { InSyncEvent, RoleEvent } from './database/understudy-level.js'
export { type ErrorCode, UnderstudyError } from './errors.js'
export { open, Understudy, type UnderstudyOptions } from './open.js'
export type {
  BootstrapStatus,
  Consistency,
  CoordinatorStatus,
  DivergentFileStatus,
  FailoverRecord,
  FailoverStatus,
  FollowerStatus,
  LossEstimate,
  MemberStatus,
  NodeStatus,
  PromoteOptions,
  PromoteResult,
  ShardStatus,
  SlotStatus,
  SwitchoverOptions,
  SwitchoverResult,
  WaitOptions,
} from './runtime/handle.js'
export type {
  VerifiedNode,
  VerifyDifference,
  VerifyOptions,
  VerifyProgress,
  VerifyResult,
} from './runtime/verify-report.js'
export { version } from './version.js'
