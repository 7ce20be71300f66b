import { compareEpochs, type Epoch, epochZero, formatEpoch } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'

/**
 * What forced promotions give up, by the records that say so: entries of epochs before `lossySince` that the history of
 * such a record lacks (C5). Nothing else may be lost, whatever an operator has forced.
 */
export class GivenUp {
  /** By the epoch of a record. */
  private readonly lossySince = new Map<string, Epoch>()
  /** Each forced epoch, with the moment when it was first heard of. */
  private readonly forced: Array<{ readonly epoch: Epoch; readonly atMs: number }> = []

  onRecord({ epoch, lossySince }: ShardRecord, nowMs: number): void {
    const name = formatEpoch(epoch)
    if (this.lossySince.has(name)) return
    this.lossySince.set(name, lossySince)
    if (lossySince.number === 0 || this.forced.some((one) => compareEpochs(one.epoch, lossySince) === 0)) return
    this.forced.push({ epoch: lossySince, atMs: nowMs })
  }

  /** Some promotion was forced, and may have left something behind. */
  get isAnything(): boolean {
    return this.forced.length > 0
  }

  /** May the history of `epoch` lack what was committed in `earlier`? */
  by(epoch: Epoch, earlier: Epoch): boolean {
    return compareEpochs(earlier, this.lossySince.get(formatEpoch(epoch)) ?? epochZero) < 0
  }

  /** May what was committed in `epoch` be undone by somebody? */
  isGivenUp(epoch: Epoch): boolean {
    return this.forced.some((one) => compareEpochs(epoch, one.epoch) < 0)
  }

  /** The last of the forced epochs that was known by then. */
  sinceBy(nowMs: number): Epoch {
    let since = epochZero
    for (const { epoch, atMs } of this.forced) if (atMs <= nowMs && compareEpochs(epoch, since) > 0) since = epoch
    return since
  }

  /** Of an epoch with a record: does that say that its own promotion was forced? */
  isForced(epoch: Epoch): boolean | undefined {
    const lossySince = this.lossySince.get(formatEpoch(epoch))
    return lossySince && compareEpochs(lossySince, epoch) === 0
  }
}
