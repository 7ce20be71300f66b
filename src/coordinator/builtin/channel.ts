import type { ShardRecord } from '../../core/record.js'
import type { UnderstudyError } from '../../errors.js'
import type { RecordState, Registration, SwapResult } from '../../ports/coordinator.js'

export interface RegisterOptions {
  readonly ttlMs: number
  /** From another process of the same name as well. */
  readonly takesOver: boolean
}

/** What a watch tells. Everything that is true now comes before `watch` resolves. */
export interface ChannelEvents {
  onRecord(shard: string, state: RecordState): void
  onMembers(members: readonly Registration[]): void
}

/** One way to the voter that stands: over a connection, or within the process. It ends once and does not come back. */
export interface VoterChannel {
  /** Who answers, for people. */
  readonly description: string
  /** Another one than before: the voter was restarted and has forgotten who was registered. */
  readonly voterBoot: string
  readonly coordinatorId: string
  readonly closed: Promise<UnderstudyError | undefined>
  /**
   * Requests throw at once, with outcome `none`, if nothing was sent; what they reject with later says whether a swap
   * may have happened.
   */
  read(shard: string): Promise<RecordState>
  swap(shard: string, expectedRevision: number, next: ShardRecord): Promise<SwapResult>
  /** Rejects with `STALE_INCARNATION` if another process has the name. */
  register(member: Registration, options: RegisterOptions): Promise<void>
  unregister(node: string, boot: string): Promise<void>
  watch(events: ChannelEvents): Promise<void>
  close(): void
}

/** Opens a channel; rejects with a coded error. `attempt` counts from 0 since the last one that stood. */
export type OpenChannel = (attempt: number, signal: AbortSignal) => Promise<VoterChannel>
