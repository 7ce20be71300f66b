import { limits } from '../core/limits.js'
import type { Timer } from '../ports/clock.js'
import type { LagStatus } from './handle.js'
import type { ShardContext } from './shard-context.js'

/** Tells listeners how far a standby is behind, when that has changed, a few times per second at most. */
export class LagReporter {
  private readonly context: ShardContext
  private timer: Timer | undefined
  private last: LagStatus | undefined

  constructor(context: ShardContext) {
    this.context = context
  }

  start(): void {
    this.timer = this.context.clock.setTimer(limits.lagReportMs, () => {
      this.report()
      this.start()
    })
  }

  stop(): void {
    this.timer?.cancel()
  }

  private report(): void {
    const { standby } = this.context
    if (standby === undefined) return
    const lag = { entries: standby.lagEntries, lagMs: standby.lagMs }
    if (lag.entries === this.last?.entries && (lag.entries === 0 || lag.lagMs === this.last.lagMs)) return
    this.last = lag
    this.context.emit({ type: 'lag', lag })
  }
}
