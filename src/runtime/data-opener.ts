import { epochZero } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { Engine } from '../ports/engine.js'
import { Checkpoints } from './checkpoints.js'
import type { ShardContext } from './shard-context.js'
import { BootstrapNeeded, ShardData, type ShardDataParts } from './shard-data.js'
import type { ShardSessions } from './shard-sessions.js'
import { Slots } from './slots.js'

/** Puts the shard's data into its context and takes it out again; tells the roles and sessions how far it is. */
export class DataOpener {
  private readonly context: ShardContext
  private readonly sessions: ShardSessions
  private readonly onFailed: (error: unknown) => void
  private readonly onDamaged: (error: Error) => void

  constructor(
    context: ShardContext,
    sessions: ShardSessions,
    on: { readonly failed: (error: unknown) => void; readonly damaged: (error: Error) => void },
  ) {
    this.context = context
    this.sessions = sessions
    this.onFailed = on.failed
    this.onDamaged = on.damaged
  }

  /** A new history of which this node is the first primary: its superblock is written after journal and engine. */
  async create(record: ShardRecord): Promise<ShardData> {
    const { context } = this
    const data = await ShardData.create(this.parts(record.historyId))
    await context.store.create({
      cluster: context.config.cluster,
      shard: context.config.name,
      incarnation: record.primary.incarnation,
      promised: record.epoch,
      record,
      adopted: true,
      led: epochZero,
      provisional: this.context.cluster.automatic !== undefined,
      slots: [],
    })
    this.use(data)
    return data
  }

  /**
   * Returns why what is there needs a bootstrap, if it does. `kept`: the engine that a bootstrap has just filled, where
   * it lives in memory only.
   */
  async open(kept?: Engine): Promise<string | undefined> {
    const { context } = this
    try {
      this.use(await ShardData.open(this.parts(context.historyId!), kept))
      return undefined
    } catch (error) {
      if (!(error instanceof BootstrapNeeded)) throw error
      // Only another node can help, if there is one.
      if (context.cluster.others.length === 0) {
        throw new UnderstudyError('CORRUPTION', `${context.store.root}: ${error.message}`, {
          hint: 'there is no other node to rebuild this one from; restore a backup',
        })
      }
      return error.message
    }
  }

  /** For a repair: nobody else sees the data before `use`. */
  openAlone(onProgress: () => void): Promise<ShardData> {
    return ShardData.open(this.parts(this.context.historyId!, onProgress))
  }

  use(data: ShardData): void {
    const { context } = this
    context.data = data
    context.slots = new Slots({
      store: context.store,
      clock: context.clock,
      logger: context.logger,
      retainBytesMax: context.config.slotRetainBytes,
    })
    if (data.engine.checkpointFiles !== undefined) {
      context.checkpoints = new Checkpoints({
        files: context.store.files,
        directory: context.store.checkpoints,
        engine: data.engine,
        journal: data.journal,
        clock: context.clock,
        random: context.random,
        logger: context.logger,
        slots: () => context.slots?.names ?? new Set(),
      })
    }
    context.waiters.check()
  }

  async close(): Promise<void> {
    const { context } = this
    const { data, checkpoints } = context
    context.data = undefined
    context.checkpoints = undefined
    context.forwarder.dataGone()
    context.slots = undefined
    this.sessions.closeSources(new UnderstudyError('NOT_READY', 'the data is being rebuilt'))
    await checkpoints?.close()
    await data?.close()
  }

  private parts(historyId: string, onProgress?: () => void): ShardDataParts {
    const { context } = this
    return {
      store: context.store,
      journals: context.parts.journals,
      engines: context.parts.engines,
      clock: context.clock,
      logger: context.logger,
      identity: { cluster: context.config.cluster, shard: context.config.name, historyId },
      empty: context.emptyPosition(historyId),
      checkpointBytes: context.config.checkpointBytes,
      checkpointIntervalMs: context.config.checkpointIntervalMs,
      onDurable: () => {
        context.primary?.onOwnProgress()
        context.primary?.onFlushed()
        context.standby?.onDurable()
        const { data } = context
        if (data !== undefined) data.noteCommitted(data.committed)
        onProgress?.()
      },
      onBlocks: (blocks) => context.forwarder.onApplied(blocks),
      onApplied: () => {
        context.primary?.onOwnProgress()
        context.standby?.onApplied()
        this.sessions.pumpSources()
        context.waiters.check()
        onProgress?.()
      },
      onFailed: this.onFailed,
      onDamaged: this.onDamaged,
      onCheckpoint: async (checkpoint) => {
        const { data, slots } = context
        if (data !== undefined) await slots?.retain(data.journal, checkpoint.sequence)
      },
      observe: context.observer,
    }
  }
}
