import { compareRecords, type ShardRecord } from '../core/record.js'
import { judgeRecord, type RecordVerdict } from '../core/takeover.js'
import type { RecordState } from '../ports/coordinator.js'
import type { RecordKeeper } from './record-keeper.js'
import type { ShardContext } from './shard-context.js'

/** Holds the coordinator's record against what this directory knows, and stores what is newer. */
export class RecordJudge {
  private readonly context: ShardContext
  private readonly keeper: RecordKeeper

  constructor(context: ShardContext, keeper: RecordKeeper) {
    this.context = context
    this.keeper = keeper
  }

  /** The coordinator's record, as it was watched if that is plausible, else read; undefined if it does not answer. */
  async judge(signal: AbortSignal): Promise<RecordVerdict | undefined> {
    const { state, connected } = this.context.cluster
    if (state !== undefined) {
      const watched = this.judgeState(state)
      if (watched.type === 'current') {
        await this.adopt(watched.record)
        return watched
      }
    }
    if (!connected) return undefined
    const read = await this.tryRead(signal)
    if (read === undefined) return undefined
    const verdict = this.judgeState(read)
    if (verdict.type === 'current') await this.adopt(verdict.record)
    return verdict
  }

  judgeState(state: RecordState): RecordVerdict {
    const { superblock } = this.context.store
    const { record: found, coordinatorId } = state
    if (superblock?.provisional === true) {
      // Nothing was written here: whatever the coordinator has counts.
      return found === undefined ? { type: 'absent' } : { type: 'current', record: found }
    }
    return judgeRecord({ coordinatorId, found, stored: superblock?.record, promised: this.context.promised })
  }

  private async adopt(record: ShardRecord): Promise<void> {
    const { store } = this.context
    const stored = store.superblock
    if (stored === undefined || stored.provisional || compareRecords(record, stored.record) <= 0) return
    await store.update((now) => (compareRecords(record, now.record) > 0 ? { ...now, record } : now))
    this.context.emit({ type: 'record', record })
  }

  /** Undefined if the coordinator does not answer: its state says why. */
  async tryRead(signal: AbortSignal): Promise<RecordState | undefined> {
    try {
      return await this.keeper.read(signal)
    } catch (error) {
      this.context.logger.debug({ error: String(error) }, 'the coordinator does not answer')
      return undefined
    }
  }
}
