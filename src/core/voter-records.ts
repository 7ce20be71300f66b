import type { Failure } from './failure.js'
import { limits } from './limits.js'
import type { ShardRecord } from './record.js'

/** A record as a voter holds it: `revision` is the sequence of the entry that wrote it, and so only grows. */
export interface HeldRecord {
  readonly record: ShardRecord
  readonly revision: number
}

export type SwapDecision =
  | { readonly kind: 'write' }
  /** Another record is there (or, where none was expected, any; or none where one was). */
  | { readonly kind: 'held' }
  | { readonly kind: 'refuse'; readonly failure: Failure }

/** The voter's state machine: what its journal says, folded. It holds what is durable and nothing else. */
export class VoterRecords {
  private readonly held = new Map<string, HeldRecord>()

  get(shard: string): HeldRecord | undefined {
    return this.held.get(shard)
  }

  get all(): ReadonlyMap<string, HeldRecord> {
    return this.held
  }

  /** May `next` take the place of the record of `expectedRevision` (0: there is none)? */
  decide(shard: string, expectedRevision: number): SwapDecision {
    const found = this.held.get(shard)
    if ((found?.revision ?? 0) !== expectedRevision) return { kind: 'held' }
    if (!isShardName(shard)) {
      return { kind: 'refuse', failure: { code: 'BAD_REQUEST', message: `"${shard}" is no name of a shard` } }
    }
    if (found === undefined && this.held.size >= limits.voterRecordsMax) {
      const message = `${this.held.size} shards have a record; that is the limit`
      return { kind: 'refuse', failure: { code: 'LIMIT_EXCEEDED', message } }
    }
    return { kind: 'write' }
  }

  apply(shard: string, held: HeldRecord): void {
    this.held.set(shard, held)
  }
}

/** Names that begin otherwise are keys of the voter itself. */
export function isShardName(name: string): boolean {
  return /^[A-Za-z0-9]/.test(name)
}
