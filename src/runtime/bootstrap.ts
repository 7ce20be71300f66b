import { decodeBlock } from '../codec/block.js'
import { crc32 } from '../codec/digest.js'
import { decodeMessage, decodeMessageAndRest, type Message } from '../codec/messages.js'
import { refuseAppend } from '../core/append.js'
import { judgeSnapshot, type SourceCandidate, SourceChooser } from '../core/bootstrap.js'
import type { EpochStart, Family } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { type Epoch, higherEpoch, type Position } from '../core/position.js'
import { newerRecord, type ShardRecord } from '../core/record.js'
import { errorFromFailure, isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Engine, EngineFactory } from '../ports/engine.js'
import type { Journal, JournalFactory, JournalIdentity } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import { Applier } from './applier.js'
import { BootstrapProgress } from './bootstrap-progress.js'
import type { Link } from './link.js'
import type { IncomingState, ShardStore } from './shard-store.js'
import { Wake } from './wake.js'

/** What those who answer know at the end of a bootstrap. */
export type SourceConfirmation =
  | { readonly verdict: 'start-over' }
  | { readonly verdict: 'fits'; readonly record: ShardRecord | undefined; readonly promised: Epoch }

export interface BootstrapParts {
  readonly store: ShardStore
  readonly journals: JournalFactory
  readonly engines: EngineFactory
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly cluster: string
  readonly shard: string
  readonly node: string
  readonly historyId: string
  readonly maxBytesPerSecond: number | undefined
  /** Highest epoch that this node has promised so far: a new directory does not forget it (S3). */
  readonly promised: () => Epoch
  /** The position of this history without entries. */
  readonly empty: () => Position
  /** Healthy nodes with data, asked anew for each attempt. */
  readonly candidates: () => readonly SourceCandidate[]
  /** Opens and greets a session of purpose `source`. */
  readonly dial: (candidate: SourceCandidate, signal: AbortSignal) => Promise<Link>
  /** Does the present primary have this position in its history? Rejects while nobody can say. */
  readonly confirm: (position: Position, signal: AbortSignal) => Promise<SourceConfirmation>
  readonly pinElsewhere: (slot: string, sequence: number) => void
  readonly onProgress: (progress: BootstrapProgress) => void
  readonly onRetry: () => void
  readonly onBytes: (bytes: number) => void
}

/**
 * Builds a standby's data from nothing, by range chunks: the destination keeps the journal from the first snapshot's
 * position on while it pulls the content key by key, resumes after a restart of either side and on another source,
 * and installs by rename only what was replayed beyond every snapshot that was used (B1, B2).
 */
export class Bootstrap {
  readonly progress: BootstrapProgress
  private readonly parts: BootstrapParts
  private readonly chooser = new SourceChooser()
  private readonly wake: Wake
  private state: IncomingState | undefined
  private engine: Engine | undefined
  private journal: Journal | undefined
  private applier: Applier | undefined
  private failed: ((error: unknown) => void) | undefined
  private onDurable: (() => void) | undefined
  private restarts = 0
  /** This node's own disk or engine failed: no other source helps. */
  private ownFailure: unknown

  constructor(parts: BootstrapParts) {
    this.parts = parts
    this.wake = new Wake(parts.clock)
    this.progress = new BootstrapProgress(parts.clock, (progress) => parts.onProgress(progress))
  }

  get historyId(): string {
    return this.parts.historyId
  }

  /**
   * Resolves when the new data is in place, with the engine if it lives in memory only; rejects on abort or when this
   * disk fails.
   */
  async run(signal: AbortSignal): Promise<Engine | undefined> {
    const onAbort = () => this.wake.signal()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.resume()
      while (!signal.aborted) {
        const source = this.chooser.choose(this.parts.candidates())
        if (source === undefined) {
          this.progress.waiting('no healthy node with data answers', undefined)
          await this.wake.wait(limits.pollMs)
          continue
        }
        try {
          return await this.attempt(source, signal)
        } catch (error) {
          await this.onFailure(source, error, signal)
        }
      }
      throw new UnderstudyError('CLOSED', 'the bootstrap was interrupted; it resumes at the next start')
    } finally {
      signal.removeEventListener('abort', onAbort)
      await this.closeData()
    }
  }

  /** Epochs of the journal as far as it is here. */
  get epochs(): readonly EpochStart[] {
    return this.journal?.epochs ?? []
  }

  /** Something that the choice of a source depends on has changed. */
  onPeersChanged(): void {
    this.wake.signal()
  }

  private async onFailure(source: SourceCandidate, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    if (this.ownFailure !== undefined) throw this.ownFailure
    if (!(error instanceof UnderstudyError)) throw error
    const startOver =
      isFailure(error, 'TOO_OLD', 'DIVERGED', 'HISTORY_MISMATCH') &&
      this.state !== undefined &&
      this.othersCannotHelp(source)
    const waitMs = this.chooser.onFailure(source.node, this.parts.random.next())
    this.parts.logger.warn({ source: source.node, error: error.message, waitMs, startOver }, 'bootstrap attempt failed')
    if (startOver) {
      this.restarts += 1
      await this.discard()
    }
    this.parts.onRetry()
    this.progress.waiting(error.message, waitMs)
    const untilMs = this.parts.clock.nowMs() + waitMs
    while (!signal.aborted && this.parts.clock.nowMs() < untilMs) {
      await this.wake.wait(Math.max(1, untilMs - this.parts.clock.nowMs()))
      // Another healthy source need not wait for this one's back-off.
      if (this.chooser.hasUntried(this.parts.candidates())) break
    }
  }

  /** What is too old for one source may be retained by another: begin again only when all of them have said no. */
  private readonly refusedBy = new Set<string>()
  private othersCannotHelp(source: SourceCandidate): boolean {
    this.refusedBy.add(source.node)
    return this.parts.candidates().every((candidate) => this.refusedBy.has(candidate.node))
  }

  private async attempt(source: SourceCandidate, signal: AbortSignal): Promise<Engine | undefined> {
    const link = await this.parts.dial(source, signal)
    const onAbort = () => link.close(new UnderstudyError('ABORTED', 'bootstrap interrupted'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      this.progress.source(source.node)
      const snapshot = await this.startSnapshot(link, signal)
      const inbox = new SourceInbox(link, this.parts.clock)
      await this.followJournal(link, inbox, signal)
      await this.transfer(link, inbox, snapshot, signal)
      link.send('snapshotComplete', { snapshot: snapshot.id })
      await this.catchUp(inbox, signal)
      const confirmed = await this.parts.confirm(this.journal!.durable, signal)
      if (confirmed.verdict === 'start-over') {
        throw new UnderstudyError('DIVERGED', 'the present primary does not have this position in its history')
      }
      return await this.own(this.install(confirmed))
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.onDurable = undefined
      this.failed = undefined
      link.close()
    }
  }

  private async startSnapshot(link: Link, signal: AbortSignal): Promise<Message<'snapshot'>> {
    this.progress.phase('snapshot')
    const { state } = this
    link.send('snapshotStart', { slot: `bootstrap:${this.parts.node}`, first: state?.first })
    const snapshot = await link.expect('snapshot', limits.requestTimeoutMs, signal)
    const plan =
      state === undefined
        ? undefined
        : { historyId: state.record.historyId, first: state.first, highest: state.highest }
    const verdict = judgeSnapshot(plan, snapshot.record.historyId, snapshot.position)
    if (verdict === 'start-over' || snapshot.record.historyId !== this.parts.historyId) {
      throw new UnderstudyError('HISTORY_MISMATCH', `${link.remote} holds history ${snapshot.record.historyId}`)
    }
    if (verdict === 'behind') {
      throw new UnderstudyError(
        'UNAVAILABLE',
        `${link.remote} is at ${snapshot.position.sequence}, behind the beginning of this bootstrap`,
      )
    }
    if (state === undefined) await this.own(this.begin(snapshot))
    else if (snapshot.position.sequence > state.highest.sequence) {
      // Stored before a chunk of the new snapshot is: what was mixed must be replayed that far (B1).
      await this.saveState({
        ...state,
        highest: snapshot.position,
        record: newerRecord(state.record, snapshot.record)!,
      })
    }
    this.progress.begin(this.state!.first.sequence, snapshot.sizeEstimateBytes)
    this.parts.pinElsewhere(`bootstrap:${this.parts.node}`, this.state!.first.sequence)
    return snapshot
  }

  private async begin(snapshot: Message<'snapshot'>): Promise<void> {
    await this.parts.store.beginIncoming()
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
    })
    const { files, incoming } = this.parts.store
    this.engine = await this.parts.engines.open(files.join(incoming, 'engine'), this.parts.empty())
    this.journal = await this.parts.journals.create(
      files.join(incoming, 'journal'),
      this.journalIdentity(),
      { base: snapshot.position, epochs: snapshot.epochs },
      this.journalEvents(),
    )
  }

  /** Goes on with what an earlier process stored, if that can be used; a half-made beginning is wiped. */
  private async resume(): Promise<void> {
    const state = await this.parts.store.incomingState()
    if (state === undefined) return
    this.restarts = state.restarts
    if (state.record.historyId !== this.parts.historyId || state.cluster !== this.parts.cluster) {
      this.parts.logger.warn(
        { found: state.record.historyId },
        'an unfinished bootstrap of another history is discarded',
      )
      await this.discard()
      return
    }
    const { files, incoming } = this.parts.store
    const engineDirectory = files.join(incoming, 'engine')
    const journalDirectory = files.join(incoming, 'journal')
    if ((await files.stat(journalDirectory)) === undefined || (await files.list(journalDirectory)).length === 0) {
      await this.discard()
      return
    }
    this.state = state
    try {
      this.engine = await this.parts.engines.open(engineDirectory, this.parts.empty())
      const opened = await this.parts.journals.open(journalDirectory, this.journalIdentity(), this.journalEvents())
      this.journal = opened.journal
    } catch (error) {
      // Nothing but this bootstrap rests on it: what cannot be read is fetched again (F23).
      if (!isFailure(error, 'CORRUPTION')) throw error
      this.parts.logger.warn({ error: error.message }, 'an unfinished bootstrap is damaged and begins again')
      await this.discard()
      return
    }
    if (this.engine.volatile) {
      await this.discard()
      return
    }
    const stored = await this.storedProgress()
    this.progress.resumed(describeResume(stored), stored.bytes, stored.entries)
    this.parts.logger.info(
      { from: describeResume(stored), journal: this.journal.durable.sequence },
      'bootstrap resumes',
    )
  }

  private async discard(): Promise<void> {
    await this.closeData()
    await this.parts.store.discardIncoming()
    this.state = undefined
    this.refusedBy.clear()
    this.progress.startedOver(this.restarts)
  }

  /** The journal streams in beside the chunks, so that no trimming on the source can cut the way (B2). */
  private async followJournal(link: Link, inbox: SourceInbox, signal: AbortSignal): Promise<void> {
    const journal = this.journal!
    await journal.mark()
    link.send('subscribe', { position: journal.durable, epochs: journal.epochs, creditBytes: limits.creditBytes })
    const [name, payload] = await link.expectOneOf(['stream', 'tooOld', 'diverged'], limits.requestTimeoutMs, signal)
    if (name === 'tooOld')
      throw new UnderstudyError('TOO_OLD', `${link.remote} has trimmed the journal that this bootstrap needs`)
    if (name === 'diverged')
      throw new UnderstudyError('DIVERGED', `${link.remote} has another history than this bootstrap`)
    const stream = decodeMessage('stream', payload)
    inbox.committed = stream.committed
    const uncredited: Array<{ sequence: number; bytes: number }> = []
    this.failed = (error) => link.close(toUnderstudyError(error, 'writing the journal'))
    this.onDurable = () => {
      let bytes = 0
      while (uncredited[0] !== undefined && uncredited[0].sequence <= journal.durable.sequence)
        bytes += uncredited.shift()!.bytes
      if (bytes > 0) link.send('credit', { bytes })
      inbox.wake.signal()
    }
    inbox.onBlock = (bytes) => {
      const block = decodeBlock(bytes)
      const failure = refuseAppend({
        header: block.header,
        end: journal.appended,
        sessionEpoch: higherEpoch(stream.epoch, block.header.epoch),
        promised: block.header.epoch,
      })
      if (failure !== undefined) throw errorFromFailure(failure)
      uncredited.push({ sequence: block.end.sequence, bytes: bytes.length })
      journal.append([block])
      journal.noteCommitted(block.header.committed)
    }
    inbox.open()
  }

  private async transfer(
    link: Link,
    inbox: SourceInbox,
    snapshot: Message<'snapshot'>,
    signal: AbortSignal,
  ): Promise<void> {
    this.progress.phase('transferring')
    const engine = this.engine!
    const stored = await this.storedProgress()
    if (stored.complete) return
    const families = [...snapshot.families].sort((a, b) => a.id - b.id)
    let { bytes, entries } = stored
    for (const [index, family] of families.entries()) {
      if (family.id < stored.family) continue
      let start: Uint8Array | undefined = family.id === stored.family ? stored.nextKey : new Uint8Array(0)
      let answer = start === undefined ? undefined : this.requestChunk(link, inbox, snapshot.id, family, start, signal)
      while (answer !== undefined) {
        const [chunk, raw] = await answer
        start = chunk.nextKey
        // The next chunk travels while this one is written.
        answer = start === undefined ? undefined : this.requestChunk(link, inbox, snapshot.id, family, start, signal)
        answer?.catch(() => undefined)
        bytes += raw.length
        entries += chunk.entryCount
        const complete = start === undefined && index === families.length - 1
        await this.own(
          engine.ingest(
            family,
            raw,
            encodeProgress({ family: family.id, familyName: family.name, nextKey: start, complete, bytes, entries }),
          ),
        )
        this.chooser.onProgress()
        this.progress.advance(raw.length, chunk.entryCount)
        this.parts.onBytes(raw.length)
        await this.throttle(raw.length)
      }
    }
  }

  private async requestChunk(
    link: Link,
    inbox: SourceInbox,
    snapshot: number,
    family: Family,
    start: Uint8Array,
    signal: AbortSignal,
  ): Promise<[Message<'chunk'>, Uint8Array]> {
    for (let timeouts = 1; ; timeouts++) {
      // A late chunk still answers the one request that is open; it is never asked for twice on one connection.
      if (timeouts === 1) link.send('chunkRequest', { snapshot, family, start, bytesMax: limits.chunkBytes })
      const payload = await inbox.nextChunk(limits.chunkTimeoutMs, signal)
      if (payload === undefined) {
        this.parts.logger.warn({ source: link.remote, timeouts }, 'no chunk within the time-out')
        if (timeouts >= limits.chunkTimeoutsMax) {
          throw new UnderstudyError('TIMEOUT', `${link.remote}: ${timeouts} chunk time-outs in a row`)
        }
        continue
      }
      const [chunk, raw] = decodeMessageAndRest('chunk', payload)
      const checksum = crc32(raw)
      if (chunk.snapshot !== snapshot || chunk.family !== family.id) {
        throw new UnderstudyError('PROTOCOL', `${link.remote}: chunk of family ${chunk.family}, asked for ${family.id}`)
      }
      if (checksum !== chunk.checksum) {
        throw new UnderstudyError(
          'CORRUPTION',
          `chunk from ${link.remote}: expected checksum ${chunk.checksum}, found ${checksum}`,
          { hint: 'the source or the network is at fault: another source is asked' },
        )
      }
      return [chunk, raw]
    }
  }

  /** Replays the journal over the content until no snapshot that was used lies ahead. */
  private async catchUp(inbox: SourceInbox, signal: AbortSignal): Promise<void> {
    this.progress.phase('catching-up')
    const journal = this.journal!
    const { highest, families, familyIdNext, first } = this.state!
    let reached = journal.durable.sequence
    let sinceMs = this.parts.clock.nowMs()
    while (journal.durable.sequence < highest.sequence) {
      if (signal.aborted || inbox.ended)
        throw inbox.error ?? new UnderstudyError('UNAVAILABLE', 'the source ended the connection')
      await inbox.wake.wait(limits.pollMs)
      const nowMs = this.parts.clock.nowMs()
      if (journal.durable.sequence > reached) {
        reached = journal.durable.sequence
        sinceMs = nowMs
      } else if (nowMs - sinceMs > limits.chunkTimeoutMs * limits.chunkTimeoutsMax) {
        // A source that was cut off may never reach what an earlier one had.
        throw new UnderstudyError('TIMEOUT', `nothing followed ${reached}; ${highest.sequence} must be reached`)
      }
    }
    // Blocks that a source shows are committed there; whatever is durable here up to `highest` may be applied.
    await journal.mark()
    const at = await journal.positionAt(highest.sequence)
    if (at?.chain !== highest.chain)
      throw new UnderstudyError('DIVERGED', 'the journal does not contain the snapshot that was used')
    await this.own(this.engine!.finishIngest(first, families, familyIdNext))
    const failure = { error: undefined as unknown }
    this.applier = new Applier({
      journal,
      engine: this.engine!,
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
      this.ownFailure = toUnderstudyError(failure.error, 'replaying the journal')
      throw this.ownFailure
    }
    invariant(this.applier.applied.sequence === highest.sequence, 'the replay ends where the newest snapshot was taken')
    journal.noteCommitted(Math.max(highest.sequence, Math.min(inbox.committed, journal.durable.sequence)))
  }

  private async install(confirmed: SourceConfirmation & { verdict: 'fits' }): Promise<Engine | undefined> {
    this.progress.phase('installing')
    const engine = this.engine!
    await engine.checkpoint()
    // What lives in memory only is handed over as it is: closed, it would be empty.
    const kept = engine.volatile ? engine : undefined
    if (kept !== undefined) this.engine = undefined
    await this.closeData()
    const { cluster, shard, incarnation, promised } = this.state!
    const record = newerRecord(this.state!.record, confirmed.record)!
    const seen = [record.epoch, confirmed.promised, this.parts.promised()]
    await this.parts.store.finishIncoming({
      cluster,
      shard,
      incarnation,
      promised: seen.reduce(higherEpoch, promised),
      record,
      slots: [],
    })
    this.progress.phase('done')
    return kept
  }

  /** What fails here is this node's own disk or engine, whatever code it carries. */
  private async own<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.ownFailure ??= error
      throw error
    }
  }

  private async closeData(): Promise<void> {
    await this.applier?.stop()
    await this.engine?.close()
    await this.journal?.close()
    this.applier = undefined
    this.engine = undefined
    this.journal = undefined
  }

  private async storedProgress(): Promise<StoredProgress> {
    const bytes = await this.engine!.ingestProgress()
    return bytes === undefined ? noProgress : decodeProgress(bytes)
  }

  private async saveState(state: IncomingState): Promise<void> {
    await this.parts.store.saveIncoming(state)
    this.state = state
  }

  private async throttle(bytes: number): Promise<void> {
    const { maxBytesPerSecond, clock } = this.parts
    if (maxBytesPerSecond === undefined) return
    await new Promise<void>((resolve) => {
      clock.setTimer((bytes / maxBytesPerSecond) * 1000, resolve)
    })
  }

  private journalIdentity(): JournalIdentity {
    return { cluster: this.parts.cluster, shard: this.parts.shard, historyId: this.parts.historyId }
  }

  private journalEvents() {
    return {
      onDurable: () => this.onDurable?.(),
      onFailed: (error: Error) => {
        this.ownFailure ??= error
        this.failed?.(error)
      },
    }
  }
}

interface StoredProgress {
  readonly family: number
  readonly familyName: string
  readonly nextKey: Uint8Array | undefined
  readonly complete: boolean
  readonly bytes: number
  readonly entries: number
}

const noProgress: StoredProgress = {
  family: 0,
  familyName: 'default',
  nextKey: new Uint8Array(0),
  complete: false,
  bytes: 0,
  entries: 0,
}

function encodeProgress(progress: StoredProgress): Uint8Array {
  const nextKey = progress.nextKey === undefined ? null : Buffer.from(progress.nextKey).toString('hex')
  return Buffer.from(JSON.stringify({ ...progress, nextKey }))
}

function decodeProgress(bytes: Uint8Array): StoredProgress {
  const stored = JSON.parse(Buffer.from(bytes).toString()) as Omit<StoredProgress, 'nextKey'> & {
    nextKey: string | null
  }
  return { ...stored, nextKey: stored.nextKey === null ? undefined : Buffer.from(stored.nextKey, 'hex') }
}

function describeResume(stored: StoredProgress): string {
  if (stored.complete) return `all chunks present (${stored.entries} entries, ${stored.bytes} bytes)`
  const key =
    stored.nextKey === undefined ? 'its end' : `key 0x${Buffer.from(stored.nextKey.subarray(0, 16)).toString('hex')}`
  return `family ${stored.familyName} from ${key} on (${stored.entries} entries, ${stored.bytes} bytes present)`
}

/** Sorts what a source sends into chunks (awaited one at a time) and blocks (taken as they come). */
class SourceInbox {
  readonly wake: Wake
  committed = 0
  ended = false
  error: UnderstudyError | undefined
  onBlock: ((bytes: Uint8Array) => void) | undefined
  private readonly link: Link
  private readonly clock: Clock
  private readonly chunks: Uint8Array[] = []
  private chunkWaiter: (() => void) | undefined

  constructor(link: Link, clock: Clock) {
    this.link = link
    this.clock = clock
    this.wake = new Wake(clock)
  }

  open(): void {
    this.link.handle((name, payload) => {
      if (name === 'block') this.onBlock?.(payload)
      else if (name === 'chunk') {
        this.chunks.push(payload)
        this.chunkWaiter?.()
      } else if (name === 'committed') {
        this.committed = decodeMessage('committed', payload).sequence
      } else throw new UnderstudyError('PROTOCOL', `${name} is not expected from a source`)
    })
    this.link.closed.then(
      (error) => {
        this.ended = true
        this.error = error
        this.chunkWaiter?.()
        this.wake.signal()
      },
      () => undefined,
    )
  }

  /** Undefined after the time-out. */
  async nextChunk(timeoutMs: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.chunks.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(timeoutMs, resolve)
        this.chunkWaiter = () => {
          timer.cancel()
          resolve()
        }
      })
      this.chunkWaiter = undefined
    }
    const chunk = this.chunks.shift()
    if (chunk !== undefined) return chunk
    if (this.ended || signal.aborted) {
      throw this.error ?? new UnderstudyError('UNAVAILABLE', `${this.link.remote} ended the connection`)
    }
    return undefined
  }
}
