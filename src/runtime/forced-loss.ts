import { isLossy, type ShardRecord } from '../core/record.js'
import type { LossEstimate } from './handle.js'

/**
 * What the epoch of this record may have lost by being forced: undefined, nothing. `entries`: known to lie beyond its
 * beginning; a node that only finds the record, because the answer to its own swap was lost, does not know.
 */
export function forcedLoss(record: ShardRecord, entries: number | undefined): LossEstimate | undefined {
  if (!isLossy(record)) return undefined
  return { entries, seconds: undefined, reason: 'forced promotion: entries committed elsewhere may be missing' }
}
