/** What a voter says of itself, for status and metrics. */
export interface VoterStatus {
  readonly voter: string
  /** True if this process is nothing else: it holds no data and takes no role. */
  readonly witness: boolean
  readonly state: VoterState
  /** Why it does not serve, for people; names the next step where there is one. */
  readonly reason: string | undefined
  /** Undefined before its state was read. */
  readonly coordinatorId: string | undefined
  readonly voters: ReadonlyArray<{ readonly node: string; readonly address: string }>
  readonly records: readonly VoterRecordStatus[]
  readonly members: readonly VoterMemberStatus[]
  /** Sessions of nodes that use it, its own included. */
  readonly sessions: number
  readonly journal: { readonly bytes: number; readonly segments: number; readonly sequence: number }
}

export type VoterState = 'starting' | 'serving' | 'failed' | 'closed'

export interface VoterRecordStatus {
  readonly shard: string
  readonly revision: number
  readonly epoch: { readonly number: number; readonly node: string }
  readonly primary: string
  readonly inSync: readonly string[]
  readonly recordVersion: number
}

export interface VoterMemberStatus {
  readonly node: string
  readonly address: string
  /** Until its registration ends, if it is not renewed. */
  readonly expiresInMs: number
}
