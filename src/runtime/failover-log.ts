import { limits } from '../core/limits.js'
import type { ShardRecord } from '../core/record.js'
import type { FailoverRecord, LossEstimate } from './handle.js'
import type { ShardContext } from './shard-context.js'

/** Remembers, counts and announces that this node became primary. */
export class FailoverLog {
  private readonly context: ShardContext

  constructor(context: ShardContext) {
    this.context = context
  }

  add(record: ShardRecord, kind: FailoverRecord['kind'], tookMs: number, mayLose: LossEstimate | undefined): void {
    const { context } = this
    const failover: FailoverRecord = {
      at: new Date(context.clock.wallMs()).toISOString(),
      epoch: record.epoch,
      primary: record.primary.node,
      kind,
      tookMs: Math.round(tookMs),
      mayLose,
    }
    context.failovers.push(failover)
    if (context.failovers.length > limits.failoversKept) context.failovers.shift()
    if (kind === 'failover') context.observer.failovers += 1
    context.emit({ type: 'failover', failover })
  }
}
