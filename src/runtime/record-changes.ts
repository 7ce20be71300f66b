import type { InSyncState } from '../core/in-sync.js'
import { invariant } from '../core/invariant.js'
import { formatEpoch } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import type { Logger } from '../ports/logger.js'

/**
 * Makes a record durable: here, and with the coordinator if there is one; it is told to others only afterwards.
 * Resolves with the record that is there then: another one, if somebody else has changed it.
 */
export type SaveRecord = (record: ShardRecord, signal: AbortSignal) => Promise<ShardRecord | undefined>

export interface RecordChangesParts {
  /** The shard's, when the role began. */
  readonly record: ShardRecord
  readonly recordHeldBy: 'members' | 'coordinator'
  readonly inSync: InSyncState
  readonly logger: Logger
  readonly nonce: () => string
  readonly saveRecord: SaveRecord
  /** Aborted when the role ends: nothing that comes later counts. */
  readonly ending: AbortSignal
  /** It is durable here, and the coordinator's if there is one; `reason` is for people. */
  readonly onSaved: (record: ShardRecord, reason: string) => void
  /** The coordinator's record is somebody else's. */
  readonly onDeposed: (reason: string) => void
  readonly onFailed: (error: unknown) => void
}

/** Changes of the shard's record by its primary within one epoch: one after the other (C3). */
export class RecordChanges {
  private readonly parts: RecordChangesParts
  private turn: Promise<void> = Promise.resolve()
  private saved: ShardRecord

  constructor(parts: RecordChangesParts) {
    this.parts = parts
    this.saved = parts.record
  }

  /** The newest record that is durable here: what others may be told. */
  get durable(): ShardRecord {
    return this.saved
  }

  /**
   * From this call on commits wait for the new set too. Then the record is made durable here, then sent: nobody can
   * hold a record that its primary does not know of.
   */
  propose(change: ShardRecord, reason: string): void {
    const { inSync, recordHeldBy, onSaved, ending } = this.parts
    const record = { ...change, nonce: this.parts.nonce() }
    inSync.propose(record)
    void this.inTurn(async () => {
      if (ending.aborted || !(await this.save(record))) return
      this.saved = record
      // Deposed meanwhile: what a smaller set would have committed belongs to an epoch that is over.
      if (ending.aborted) return
      if (recordHeldBy === 'coordinator') inSync.onSwapped(record)
      else inSync.onOwnRecordDurable(record.version)
      onSaved(record, reason)
    })
  }

  /**
   * Swaps the record for one that names another primary; the lease must have been given up (L5). When the outcome is
   * not known at `signal`, a swap of this node's own record decides: only one of the two can happen.
   */
  handOver(next: ShardRecord, signal: AbortSignal): Promise<'handed-over' | 'rolled-back' | 'deposed'> {
    const { inSync, ending } = this.parts
    return this.inTurn(async () => {
      invariant(!inSync.changing, 'one change of the record at a time')
      try {
        const held = await this.parts.saveRecord(next, AbortSignal.any([signal, ending]))
        return this.handedOver(next, held)
      } catch (error) {
        if (ending.aborted) return 'deposed'
        this.parts.logger.warn({ error: String(error) }, 'the hand-over is taken back')
        const own = { ...inSync.record, version: next.version, nonce: this.parts.nonce() }
        const held = await this.parts.saveRecord(own, ending)
        if (held?.nonce !== own.nonce) return this.handedOver(next, held)
        this.saved = own
        inSync.propose(own)
        inSync.onSwapped(own)
        return 'rolled-back'
      }
    })
  }

  /** A failure ends the role, whoever waits for it. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work)
    this.turn = result.then(
      () => undefined,
      (error) => {
        if (!this.parts.ending.aborted) this.parts.onFailed(error)
      },
    )
    return result
  }

  private handedOver(next: ShardRecord, held: ShardRecord | undefined): 'handed-over' | 'deposed' {
    if (held?.nonce === next.nonce) return 'handed-over'
    this.deposedBy(held)
    return 'deposed'
  }

  /** True if `record` is the shard's now; else this role is over. */
  private async save(record: ShardRecord): Promise<boolean> {
    const held = await this.parts.saveRecord(record, this.parts.ending)
    if (held?.nonce === record.nonce) return true
    this.deposedBy(held)
    return false
  }

  private deposedBy(held: ShardRecord | undefined): void {
    this.parts.onDeposed(`the record was changed to epoch ${held === undefined ? 'none' : formatEpoch(held.epoch)}`)
  }
}
