import type { Epoch } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import type { PromoteResult } from './handle.js'
import type { ShardContext } from './shard-context.js'

/** How a shard finds out who is primary, and becomes it: by hand, or with a coordinator that keeps the record. */
export interface Leadership {
  start(): void
  close(): void
  /** One turn of the shard's loop while the directory is empty. `byHand`: an operator asked for this node. */
  stepWithoutData(byHand: boolean): Promise<void>
  /** One turn of the loop while there is data and this node is not the primary. */
  step(): Promise<void>
  /** Asked for by an operator. Rejects with `PROMOTION_REFUSED` and the reason. */
  promote(force: boolean): Promise<PromoteResult>
  /** This node was primary and is no longer. */
  onRoleEnded(): void
}

/** What the shard's loop does for its leadership, and what it is told. */
export interface LeadershipHost {
  readonly context: ShardContext
  /** Aborted when the loop shall look again; a new one for each step. */
  readonly signal: AbortSignal
  /** Ends what the loop waits in. */
  interrupt(): void
  bootstrap(historyId: string, reason: string): Promise<void>
  /** Follows the primary of `record`; rebuilds the data where that cannot be. */
  follow(record: ShardRecord): Promise<void>
  /** Another primary may be known: who follows the old one looks again. */
  onPrimaryChanged(): void
  createData(record: ShardRecord): Promise<void>
  /** Gives up the history that was created here and never announced. */
  discardProvisional(): Promise<void>
  /** A promotion that an operator waits for cannot be carried out. */
  refusePromotion(reason: string): void
  observe(epoch: Epoch): Promise<void>
  /** Ends the role of primary: a higher epoch exists. */
  demote(reason: string): void
  /** Ends the role of primary of this node's own accord. */
  resign(reason: string): void
  fail(error: unknown): void
}
