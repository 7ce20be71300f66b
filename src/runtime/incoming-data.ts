import type { Message } from '../codec/messages.js'
import type { BootstrapMethod } from '../core/checkpoint-transfer.js'
import type { EpochStart, Family } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { type Epoch, epochZero, formatPosition, higherEpoch, type Position, samePosition } from '../core/position.js'
import { newerRecord, type ShardRecord } from '../core/record.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Engine, EngineFactory } from '../ports/engine.js'
import type { Journal, JournalFactory, JournalIdentity } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import { Applier } from './applier.js'
import { IncomingFiles } from './incoming-files.js'
import type { IncomingState, ShardStore } from './shard-store.js'
import { decodeProgress, describeResume, encodeProgress, noProgress, type StoredProgress } from './stored-progress.js'

export interface IncomingDataParts {
  readonly store: ShardStore
  readonly journals: JournalFactory
  readonly engines: EngineFactory
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly cluster: string
  readonly shard: string
  readonly historyId: string
  /** Highest epoch that this node has promised so far: a new directory does not forget it (S3). */
  readonly promised: () => Epoch
  /** Before the data that is here is replaced: keeps what the new history, with these epochs and end, lacks. */
  readonly keepDivergent: (epochs: readonly EpochStart[], end: number) => Promise<void>
  /** The position of this history without entries. */
  readonly empty: () => Position
}

/** For people and the progress: what an earlier process has left. */
interface ResumePoint {
  readonly from: string
  readonly bytes: number
  readonly entries: number
}

/** Who writes into the journal at the moment, and hears what became of it. */
interface JournalWatcher {
  onDurable(): void
  onFailed(error: unknown): void
}

/**
 * What a bootstrap has on disk so far: engine, journal from the first snapshot's position on, and the state that says
 * how far the journal must be replayed before it is data (B1).
 */
export class IncomingData {
  private readonly parts: IncomingDataParts
  private readonly onDiscarded: (restarts: number) => void
  private stateNow: IncomingState | undefined
  private openEngine: Engine | undefined
  private openJournal: Journal | undefined
  private applier: Applier | undefined
  private watcher: JournalWatcher | undefined
  private restarts = 0
  private failureNow: unknown

  constructor(parts: IncomingDataParts, onDiscarded: (restarts: number) => void) {
    this.parts = parts
    this.onDiscarded = onDiscarded
  }

  /** Undefined while nothing was begun. */
  get state(): IncomingState | undefined {
    return this.stateNow
  }

  /** What this node's own disk refused: no reason to ask another source. */
  get failure(): unknown {
    return this.failureNow
  }

  get journal(): Journal {
    invariant(this.openJournal !== undefined, 'the journal of a bootstrap is open while it is used')
    return this.openJournal
  }

  /** Epochs of the journal as far as it is here. */
  get epochs(): readonly EpochStart[] {
    return this.openJournal?.epochs ?? []
  }

  watchJournal(watcher: JournalWatcher | undefined): void {
    this.watcher = watcher
  }

  /** How the content comes; undefined while nothing was begun. */
  get method(): BootstrapMethod | undefined {
    if (this.stateNow === undefined) return undefined
    return this.stateNow.checkpoint === undefined ? 'range-chunks' : 'checkpoint'
  }

  /** Everything of a checkpoint is in its place: only the journal is wanted from a source. */
  get isPlaced(): boolean {
    return this.method === 'checkpoint' && this.openEngine !== undefined
  }

  /** Where files of a checkpoint are put; undefined if the engine here takes none. */
  get incomingFiles(): IncomingFiles | undefined {
    const { engines, store } = this.parts
    return engines.files && new IncomingFiles(store.files, store.incoming, engines.files.checksum)
  }

  /** Goes on with what an earlier process stored, if that can be used; a half-made beginning is wiped. */
  async resume(): Promise<ResumePoint | undefined> {
    const state = await this.parts.store.incomingState()
    if (state === undefined) return undefined
    this.restarts = state.restarts
    if (state.record.historyId !== this.parts.historyId || state.cluster !== this.parts.cluster) {
      this.parts.logger.warn(
        { found: state.record.historyId },
        'an unfinished bootstrap of another history is discarded',
      )
      await this.discard()
      return undefined
    }
    const { files } = this.parts.store
    const { engineDirectory, journalDirectory } = this
    if ((await files.stat(journalDirectory)) === undefined || (await files.list(journalDirectory)).length === 0) {
      await this.discard()
      return undefined
    }
    let stored: ResumePoint
    try {
      const filesToCome = state.checkpoint !== undefined && (await this.incomingFiles?.isPlaced()) !== true
      if (!filesToCome) this.openEngine = await this.parts.engines.open(engineDirectory, this.parts.empty())
      const opened = await this.parts.journals.open(journalDirectory, this.journalIdentity(), this.journalEvents())
      this.openJournal = opened.journal
      stored = await this.resumePoint(state)
    } catch (error) {
      if (!(error instanceof UnderstudyError) || error.failure === 'DISK_FULL') throw error
      // Nothing here was ever acknowledged: what a crash left unusable is fetched again.
      this.parts.logger.warn({ error: error.message }, 'an unfinished bootstrap cannot be resumed and begins anew')
      await this.startOver()
      return undefined
    }
    if (this.openEngine?.volatile === true) {
      await this.discard()
      return undefined
    }
    this.stateNow = state
    return stored
  }

  private async resumePoint(state: IncomingState): Promise<ResumePoint> {
    if (state.checkpoint === undefined) {
      const stored = await this.progress()
      return { from: describeResume(stored), bytes: stored.bytes, entries: stored.entries }
    }
    if (this.openEngine !== undefined) {
      this.comparePlaced(state)
      return { from: 'all files present', bytes: 0, entries: 0 }
    }
    const { files, bytes } = await this.incomingFiles!.presentBytes()
    // They count when they have been verified.
    return { from: `${files} files present (${bytes} bytes)`, bytes: 0, entries: 0 }
  }

  /** Begins with a snapshot, or goes on with another one. */
  async take(snapshot: Message<'snapshot'>): Promise<void> {
    const { state } = this
    if (state === undefined) await this.own(this.begin(snapshot))
    else if (snapshot.position.sequence > state.highest.sequence) {
      // Stored before a chunk of the new snapshot is: what was mixed must be replayed that far (B1).
      await this.own(
        this.saveState({
          ...state,
          highest: snapshot.position,
          families: snapshot.families,
          familyIdNext: Math.max(state.familyIdNext, snapshot.familyIdNext),
          record: newerRecord(state.record, snapshot.record)!,
        }),
      )
    }
  }

  /** Begins with a checkpoint, or goes on with it or another one: nothing of an older one is kept that differs. */
  async takeCheckpoint(offered: Message<'checkpoint'>): Promise<void> {
    const { state } = this
    if (state === undefined) {
      await this.own(this.begin(offered, offered.id))
      return
    }
    const engine = this.openEngine
    if (engine !== undefined) {
      // Begun for chunks, of which none has come.
      this.openEngine = undefined
      await engine.close()
      await this.own(this.parts.store.files.removeTree(this.engineDirectory))
    }
    if (state.checkpoint === offered.id) return
    await this.own(
      this.saveState({
        ...state,
        checkpoint: offered.id,
        highest: offered.position,
        families: offered.families,
        familyIdNext: offered.familyIdNext,
        record: newerRecord(state.record, offered.record)!,
      }),
    )
  }

  /** No source has files any more: the content comes in chunks, from the beginning. */
  async giveUpFiles(): Promise<void> {
    const { state } = this
    if (state?.checkpoint === undefined) return
    await this.own(this.saveState({ ...state, checkpoint: undefined }))
    await this.own(this.parts.store.files.removeTree(this.engineDirectory))
    await this.own(this.incomingFiles!.discard())
    this.openEngine = await this.own(this.parts.engines.open(this.engineDirectory, this.parts.empty()))
  }

  /** How far the chunks are here. */
  async progress(): Promise<StoredProgress> {
    if (this.openEngine === undefined) return noProgress
    const bytes = await this.engine.ingestProgress()
    return bytes === undefined ? noProgress : decodeProgress(bytes)
  }

  /** Content and progress in one atomic batch. */
  ingest(family: Family, content: Uint8Array, progress: StoredProgress): Promise<void> {
    return this.own(this.engine.ingest(family, content, encodeProgress(progress)))
  }

  /** Replays the journal, which must be durable that far, over the content up to the highest snapshot that was used. */
  async replay(): Promise<void> {
    const { journal } = this
    const { highest, families, familyIdNext, first, checkpoint } = this.begun
    // Blocks that a source shows are committed there; whatever is durable here up to `highest` may be applied.
    await journal.mark()
    const at = await journal.positionAt(highest.sequence)
    if (at?.chain !== highest.chain) {
      throw new UnderstudyError('DIVERGED', 'the journal does not contain the snapshot that was used')
    }
    if (checkpoint !== undefined) return this.place()
    const { engine } = this
    await this.own(engine.finishIngest(first, families, familyIdNext))
    const failure = { error: undefined as unknown }
    this.applier = new Applier({
      journal,
      engine,
      clock: this.parts.clock,
      from: first,
      onApplied: () => undefined,
      onFailed: (error) => {
        failure.error = error
      },
    })
    this.applier.advance(highest.sequence)
    await this.applier.settled()
    if (failure.error !== undefined) {
      this.failureNow = failure.error
      throw toUnderstudyError(failure.error, 'replaying the journal')
    }
    invariant(this.applier.applied.sequence === highest.sequence, 'the replay ends where the newest snapshot was taken')
  }

  /**
   * The verified files become the engine's directory, by a rename before the engine opens. Where the journal goes on is
   * what the files themselves say: a list that says something else is not believed.
   */
  private async place(): Promise<void> {
    if (this.openEngine === undefined) {
      await this.own(this.incomingFiles!.place())
      try {
        this.openEngine = await this.parts.engines.open(this.engineDirectory, this.parts.empty())
      } catch (error) {
        if (!isFailure(error, 'CORRUPTION', 'FORMAT_VERSION', 'FOREIGN_DIRECTORY'))
          return this.own(Promise.reject(error))
        await this.own(this.parts.store.files.removeTree(this.engineDirectory))
        throw error
      }
    }
    try {
      this.comparePlaced(this.begun)
    } catch (error) {
      const { engine } = this
      this.openEngine = undefined
      await engine.close()
      await this.own(this.parts.store.files.removeTree(this.engineDirectory))
      throw error
    }
  }

  private comparePlaced({ highest, families, familyIdNext }: IncomingState): void {
    const { engine } = this
    const found = engine.opened.checkpoint
    const list = (all: readonly Family[]) => [...all].sort((a, b) => a.id - b.id).map(({ id, name }) => `${id} ${name}`)
    if (
      found !== undefined &&
      samePosition(found, highest) &&
      engine.familyIdNext === familyIdNext &&
      list(engine.families).join('\n') === list(families).join('\n')
    ) {
      return
    }
    const holds = found === undefined ? 'nothing' : formatPosition(found)
    throw new UnderstudyError(
      'CORRUPTION',
      `the files of the checkpoint hold ${holds} and ${engine.families.length} families, announced were ${formatPosition(highest)} and ${families.length}`,
      { hint: 'the source described its checkpoint wrongly; another source, or another checkpoint, is used' },
    )
  }

  /** Makes what is here durable; returns the engine, which stays open then, if it lives in memory only. */
  async checkpoint(): Promise<Engine | undefined> {
    const { engine } = this
    await this.own(engine.checkpoint())
    if (!engine.volatile) return undefined
    this.openEngine = undefined
    return engine
  }

  /** The incoming data becomes the shard's; `confirmed` is what the present primary said of the shard. */
  async install(confirmed: { readonly record: ShardRecord | undefined; readonly promised: Epoch }): Promise<void> {
    const { epochs, durable } = this.journal
    await this.close()
    await this.own(this.parts.keepDivergent(epochs, durable.sequence))
    const { cluster, shard, incarnation, promised, record } = this.begun
    await this.own(
      this.parts.store.finishIncoming({
        cluster,
        shard,
        incarnation,
        promised: [promised, record.epoch, this.parts.promised()].reduce(higherEpoch, confirmed.promised),
        record: newerRecord(record, confirmed.record) ?? record,
        adopted: confirmed.record !== undefined,
        led: epochZero,
        provisional: false,
        slots: [],
        hadCompany: true,
      }),
    )
  }

  async startOver(): Promise<void> {
    this.restarts += 1
    await this.discard()
  }

  async close(): Promise<void> {
    await this.applier?.stop()
    await this.openEngine?.close()
    await this.openJournal?.close()
    this.applier = undefined
    this.openEngine = undefined
    this.openJournal = undefined
  }

  private async begin(snapshot: Message<'snapshot'> | Message<'checkpoint'>, checkpoint?: string): Promise<void> {
    await this.parts.store.beginIncoming(checkpoint !== undefined)
    await this.saveState({
      formatVersion: 1,
      cluster: this.parts.cluster,
      shard: this.parts.shard,
      incarnation: this.parts.random.hex(16),
      promised: snapshot.record.epoch,
      record: snapshot.record,
      first: snapshot.position,
      highest: snapshot.position,
      families: snapshot.families,
      familyIdNext: snapshot.familyIdNext,
      restarts: this.restarts,
      checkpoint,
    })
    if (checkpoint === undefined) {
      this.openEngine = await this.parts.engines.open(this.engineDirectory, this.parts.empty())
    }
    this.openJournal = await this.parts.journals.create(
      this.journalDirectory,
      this.journalIdentity(),
      { base: snapshot.position, epochs: snapshot.epochs },
      this.journalEvents(),
    )
  }

  private async discard(): Promise<void> {
    await this.close()
    await this.parts.store.discardIncoming(this.stateNow?.checkpoint !== undefined)
    this.stateNow = undefined
    this.onDiscarded(this.restarts)
  }

  private async saveState(state: IncomingState): Promise<void> {
    await this.parts.store.saveIncoming(state)
    this.stateNow = state
  }

  /** Runs work on this node's own disk: what that refuses is no reason to ask another source. */
  async own<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.failureNow ??= error
      throw error
    }
  }

  private get begun(): IncomingState {
    invariant(this.stateNow !== undefined, 'a bootstrap has begun before it goes on')
    return this.stateNow
  }

  private get engine(): Engine {
    invariant(this.openEngine !== undefined, 'the engine of a bootstrap is open while it is used')
    return this.openEngine
  }

  private get engineDirectory(): string {
    const { files, incoming } = this.parts.store
    return files.join(incoming, 'engine')
  }

  private get journalDirectory(): string {
    const { files, incoming } = this.parts.store
    return files.join(incoming, 'journal')
  }

  private journalIdentity(): JournalIdentity {
    return { cluster: this.parts.cluster, shard: this.parts.shard, historyId: this.parts.historyId }
  }

  private journalEvents() {
    return {
      onDurable: () => this.watcher?.onDurable(),
      onFailed: (error: Error) => {
        this.failureNow ??= error
        this.watcher?.onFailed(error)
      },
    }
  }
}
