import { formatPosition } from '../core/position.js'
import { toUnderstudyError } from '../errors.js'
import type { Engine } from '../ports/engine.js'
import type { Bootstrap } from './bootstrap.js'
import type { DataOpener } from './data-opener.js'
import type { Greeter } from './greeter.js'
import type { BootstrapStatus } from './handle.js'
import { Rewind } from './rewind.js'
import { createShardBootstrap } from './shard-bootstrap.js'
import type { ShardContext } from './shard-context.js'
import { traced } from './traced.js'

export interface DataRepairParts {
  readonly context: ShardContext
  readonly greeter: Greeter
  readonly opener: DataOpener
  /** Of the loop's present turn. */
  readonly signal: () => AbortSignal
  readonly refusePromotion: (reason: string) => void
}

/** Data that cannot be used as it is, until it can: undone to the common history, or built anew from another node. */
export class DataRepair {
  private readonly parts: DataRepairParts
  private running: Bootstrap | undefined
  private rewind: Rewind | undefined
  /** Why data that exists cannot be continued from. */
  private reason = 'the data here was given up for a bootstrap that did not end'

  constructor(parts: DataRepairParts) {
    this.parts = parts
  }

  /** Of a bootstrap that is under way. */
  get progress(): BootstrapStatus | undefined {
    return this.running?.progress.status
  }

  onPeersChanged(): void {
    this.running?.onPeersChanged()
    this.rewind?.onPeersChanged()
  }

  /** Opens what is there; where it cannot be used, the next `run` knows why. */
  async open(kept?: Engine): Promise<void> {
    this.reason = (await this.parts.opener.open(kept)) ?? this.reason
  }

  async run(historyId: string): Promise<void> {
    const { context, greeter, opener } = this.parts
    this.parts.refusePromotion(`${context.config.node} is being repaired and has no complete data`)
    const { rewinding } = context.store.superblock!
    if (rewinding === undefined || rewinding.resync !== undefined) {
      return this.bootstrap(historyId, rewinding?.resync ?? this.reason)
    }
    const entries = rewinding.end.sequence - rewinding.common.sequence
    context.transition('bootstrap-needed', `rewinding ${entries} entries to ${formatPosition(rewinding.common)}`)
    this.rewind = new Rewind({ context, greeter, open: (onProgress) => opener.openAlone(onProgress) })
    try {
      const end = await this.rewind.run(this.parts.signal())
      if (end.type !== 'done') return
      opener.use(end.data)
    } finally {
      this.rewind = undefined
    }
    context.transition('bootstrapped', `rewound ${entries} entries to ${formatPosition(rewinding.common)}`)
  }

  async bootstrap(historyId: string, reason: string): Promise<void> {
    const { context, greeter } = this.parts
    context.transition('bootstrap-needed', reason)
    const bootstrap = createShardBootstrap({ context, greeter, historyId, promised: () => context.promised })
    this.running = bootstrap
    const signal = this.parts.signal()
    let kept: Engine | undefined
    try {
      kept = await traced(
        context.parts.tracer,
        'understudy.bootstrap',
        { 'understudy.reason': reason },
        async (span) => {
          try {
            return await bootstrap.run(signal)
          } finally {
            const { source = 'none', bytesDone, entriesDone } = bootstrap.progress.status
            span?.set({ 'understudy.source': source, 'understudy.bytes': bytesDone, 'understudy.entries': entriesDone })
          }
        },
      )
    } catch (error) {
      if (context.stopping || signal.aborted) return
      throw error
    }
    await this.open(kept)
    context.transition('bootstrapped', 'the new data is in place')
    this.running = undefined
  }

  /** The engine's files are damaged: what they hold is built anew. `onClosed`: nothing of it is in use any more. */
  async giveUp(damage: string, onClosed: () => void): Promise<void> {
    const { context, opener } = this.parts
    try {
      await opener.close()
    } catch (error) {
      // What it could not write any more is not needed any more.
      context.logger.warn({ error: toUnderstudyError(error, 'closing damaged data').message }, 'closed')
    }
    onClosed()
    this.reason = damage
    return this.run(context.historyId!)
  }
}
