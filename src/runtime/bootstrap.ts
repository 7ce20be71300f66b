import { decodeBlock } from '../codec/block.js'
import { decodeMessage, type Message } from '../codec/messages.js'
import { refuseAppend } from '../core/append.js'
import { judgeSnapshot, type SourceCandidate, SourceChooser } from '../core/bootstrap.js'
import { type BootstrapMethod, chooseMethod } from '../core/checkpoint-transfer.js'
import type { EpochStart } from '../core/entry.js'
import { checkpointProtocol } from '../core/handshake.js'
import { limits } from '../core/limits.js'
import { type Epoch, higherEpoch, type Position } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { errorFromFailure, isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Engine } from '../ports/engine.js'
import { BootstrapProgress } from './bootstrap-progress.js'
import { askForCheckpoint, CheckpointTransfer, type OfferedCheckpoint } from './checkpoint-transfer.js'
import { ChunkTransfer } from './chunk-transfer.js'
import { IncomingData, type IncomingDataParts } from './incoming-data.js'
import { bootstrapSlot } from './slots.js'
import { SourceInbox } from './source-inbox.js'
import { Wake } from './wake.js'

/** What the present primary says of the end of a bootstrap, and of the shard. */
export interface Confirmation {
  /** It has this position in its history. */
  readonly fits: boolean
  readonly record: ShardRecord | undefined
  readonly promised: Epoch
}

export interface BootstrapParts extends IncomingDataParts {
  readonly node: string
  readonly maxBytesPerSecond: number | undefined
  /** Healthy nodes with data, asked anew for each attempt. */
  readonly candidates: () => readonly SourceCandidate[]
  /** Opens and greets a session of purpose `source`. */
  readonly dial: (candidate: SourceCandidate, signal: AbortSignal) => Promise<Link>
  /** Does the present primary have this position in its history? Rejects while nobody can say. */
  readonly confirm: (position: Position, signal: AbortSignal) => Promise<Confirmation>
  readonly pinElsewhere: (slot: string, sequence: number) => void
  readonly onProgress: (progress: BootstrapProgress) => void
  readonly onRetry: () => void
  readonly onBytes: (bytes: number) => void
  readonly onChecksumFailure: () => void
  /** What was received is thrown away. */
  readonly onStartedOver: () => void
}

type Content =
  | { readonly type: 'checkpoint'; readonly offer: OfferedCheckpoint }
  | { readonly type: 'range-chunks'; readonly snapshot: Message<'snapshot'> }

/**
 * Builds a standby's data from nothing, by files of a checkpoint or by range chunks: the destination keeps the journal from the first snapshot's
 * position on while it pulls the content, resumes after a restart of either side and on another source,
 * and installs by rename only what was replayed beyond every snapshot that was used (B1, B2).
 */
export class Bootstrap {
  readonly progress: BootstrapProgress
  private readonly parts: BootstrapParts
  private readonly chooser = new SourceChooser()
  private readonly wake: Wake
  private readonly data: IncomingData
  /** Who handed out something of what is here. */
  private readonly used = new Set<string>()
  /** Sources that have no files to hand out. */
  private readonly withoutFiles = new Set<string>()
  private kept: Engine | undefined
  private installedAt: Position | undefined

  constructor(parts: BootstrapParts) {
    this.parts = parts
    this.wake = new Wake(parts.clock)
    this.progress = new BootstrapProgress(parts.clock, (progress) => parts.onProgress(progress))
    this.data = new IncomingData(parts, (restarts) => {
      this.chooser.onStartedOver()
      this.used.clear()
      this.progress.startedOver(restarts)
      this.parts.onStartedOver()
    })
  }

  /**
   * Resolves when the new data is in place, with the engine if it lives in memory only and would be empty when opened
   * again; rejects on abort or when this disk fails.
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
          await this.attempt(source, signal)
          return this.kept
        } catch (error) {
          await this.onFailure(source, error, signal)
        }
      }
      throw new UnderstudyError('CLOSED', 'the bootstrap was interrupted; it resumes at the next start')
    } finally {
      signal.removeEventListener('abort', onAbort)
      await this.data.close()
    }
  }

  /** Epochs of the journal as far as it is here. */
  get epochs(): readonly EpochStart[] {
    return this.data.epochs
  }

  /** End of the journal that was installed; undefined before. */
  get installed(): Position | undefined {
    return this.installedAt
  }

  /** Something that the choice of a source depends on has changed. */
  onPeersChanged(): void {
    this.wake.signal()
  }

  private async onFailure(source: SourceCandidate, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    // This node's own disk or an invariant: another source does not help.
    if (this.data.failure !== undefined) throw this.data.failure
    if (!(error instanceof UnderstudyError)) throw error
    const random = this.parts.random.next()
    const isRefusal = isFailure(error, 'TOO_OLD', 'DIVERGED', 'HISTORY_MISMATCH') && this.data.state !== undefined
    const waitMs = isRefusal ? this.chooser.onRefusal(source.node, random) : this.chooser.onFailure(source.node, random)
    // What is too old for one source may be retained by another: begin again only when all of them have said no.
    const startOver = isRefusal && this.chooser.allRefuse(this.parts.candidates())
    this.parts.logger.warn({ source: source.node, error: error.message, waitMs, startOver }, 'bootstrap attempt failed')
    if (startOver) await this.data.startOver()
    this.parts.onRetry()
    this.progress.waiting(error.message, waitMs)
    const untilMs = this.parts.clock.nowMs() + waitMs
    while (!signal.aborted && this.parts.clock.nowMs() < untilMs) {
      await this.wake.wait(Math.max(1, untilMs - this.parts.clock.nowMs()))
      // Another healthy source need not wait for this one's back-off.
      if (this.chooser.hasUntried(this.parts.candidates())) break
    }
  }

  private async attempt(source: SourceCandidate, signal: AbortSignal): Promise<void> {
    const link = await this.parts.dial(source, signal)
    const onAbort = () => link.close(new UnderstudyError('ABORTED', 'bootstrap interrupted'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      this.progress.source(source.node)
      const content = this.data.isPlaced ? undefined : await this.startContent(source, link, signal)
      this.used.add(source.node)
      const inbox = new SourceInbox(link, this.parts.clock)
      await this.followJournal(link, inbox, signal)
      if (content?.type === 'checkpoint') await this.fetchFiles(link, inbox, content.offer, signal)
      else if (content !== undefined) {
        await this.transfer(link, inbox, content.snapshot, signal)
        link.send('snapshotComplete', { snapshot: content.snapshot.id })
      }
      await this.catchUp(inbox, signal)
      const end = this.data.journal.durable
      const confirmation = await this.confirm(signal)
      if (!confirmation.fits) {
        this.chooser.onDiverged(this.used)
        throw new UnderstudyError('DIVERGED', 'the present primary does not have this position in its history')
      }
      await this.install(confirmation)
      this.installedAt = end
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.data.watchJournal(undefined)
      link.close()
    }
  }

  /** What is here is complete; a primary that is away for the moment is waited for, not started over for. */
  private async confirm(signal: AbortSignal): Promise<Confirmation> {
    for (;;) {
      try {
        return await this.parts.confirm(this.data.journal.durable, signal)
      } catch (error) {
        if (signal.aborted || !isFailure(error) || !error.retryable) throw error
        this.progress.waiting(`complete, but not installed: ${error.message}`, undefined)
        await this.wake.wait(limits.pollMs * 4)
      }
    }
  }

  /** Files where both sides can, else chunks; what was begun goes on as it was, as long as some source can. */
  private async startContent(source: SourceCandidate, link: Link, signal: AbortSignal): Promise<Content> {
    this.progress.phase('snapshot')
    const sourceSpeaks = link.protocol >= checkpointProtocol
    const choose = async () =>
      chooseMethod({
        ownFormat: this.parts.engines.files?.format,
        sourceSpeaks,
        sourceRefused: this.withoutFiles.has(source.node),
        begun: this.data.method,
        chunkBytes: (await this.data.progress()).bytes,
        othersMay: this.parts.candidates().some(({ node }) => !this.withoutFiles.has(node) && node !== source.node),
      })
    let method = await choose()
    if (method === 'checkpoint') {
      const offer = await this.startCheckpoint(link, signal)
      if (offer !== undefined) return { type: 'checkpoint', offer }
    }
    if (method !== 'range-chunks') {
      this.withoutFiles.add(source.node)
      method = await choose()
    }
    if (method === 'elsewhere') {
      throw new UnderstudyError('UNAVAILABLE', `${link.remote} has no files to go on with; another source may have`)
    }
    await this.data.giveUpFiles()
    return { type: 'range-chunks', snapshot: await this.startSnapshot(link, signal) }
  }

  /** Undefined if the source hands out none: chunks are asked for then, on the same connection. */
  private async startCheckpoint(link: Link, signal: AbortSignal): Promise<OfferedCheckpoint | undefined> {
    const { node, engines, logger } = this.parts
    const { state } = this.data
    const slot = bootstrapSlot(node)
    const request = { slot, first: state?.first, format: engines.files!.format, known: state?.checkpoint }
    const answer = await askForCheckpoint(link, request, signal)
    if (!('files' in answer)) {
      const { code, message } = answer
      logger.info({ source: link.remote, code, reason: message }, 'no checkpoint from this source: range chunks')
      return undefined
    }
    const { checkpoint } = answer
    this.judge(link, checkpoint)
    await this.data.takeCheckpoint(checkpoint)
    this.beginProgress('checkpoint', checkpoint.bytes)
    return answer
  }

  private async startSnapshot(link: Link, signal: AbortSignal): Promise<Message<'snapshot'>> {
    const { state } = this.data
    link.send('snapshotStart', { slot: bootstrapSlot(this.parts.node), first: state?.first })
    const snapshot = await link.expect('snapshot', limits.requestTimeoutMs, signal)
    this.judge(link, snapshot)
    await this.data.take(snapshot)
    this.beginProgress('range-chunks', snapshot.sizeEstimateBytes)
    return snapshot
  }

  private judge(link: Link, snapshot: Message<'snapshot'> | Message<'checkpoint'>): void {
    const { state } = this.data
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
  }

  private beginProgress(method: BootstrapMethod, bytesExpected: number): void {
    const first = this.data.state!.first.sequence
    this.progress.begin(first, bytesExpected, method)
    this.parts.pinElsewhere(bootstrapSlot(this.parts.node), first)
  }

  private async resume(): Promise<void> {
    const stored = await this.data.resume()
    if (stored === undefined) return
    const { from } = stored
    this.progress.resumed(from, stored.bytes, stored.entries)
    this.parts.logger.info({ from, journal: this.data.journal.durable.sequence }, 'bootstrap resumes')
  }

  /** The journal streams in beside the chunks, so that no trimming on the source can cut the way (B2). */
  private async followJournal(link: Link, inbox: SourceInbox, signal: AbortSignal): Promise<void> {
    const { journal } = this.data
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
    this.data.watchJournal({
      onFailed: (error) => link.close(toUnderstudyError(error, 'writing the journal')),
      onDurable: () => {
        let bytes = 0
        while (uncredited[0] !== undefined && uncredited[0].sequence <= journal.durable.sequence)
          bytes += uncredited.shift()!.bytes
        if (bytes > 0) link.send('credit', { bytes })
        inbox.wake.signal()
      },
    })
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
    const { clock, logger, maxBytesPerSecond } = this.parts
    const onChunk = (bytes: number, entries: number) => {
      this.chooser.onProgress()
      this.progress.advance(bytes, entries)
      this.parts.onBytes(bytes)
    }
    const { onChecksumFailure } = this.parts
    const parts = {
      link,
      inbox,
      snapshot,
      data: this.data,
      clock,
      logger,
      maxBytesPerSecond,
      onChunk,
      onChecksumFailure,
    }
    await new ChunkTransfer(parts).run(signal)
  }

  private async fetchFiles(
    link: Link,
    inbox: SourceInbox,
    offer: OfferedCheckpoint,
    signal: AbortSignal,
  ): Promise<void> {
    this.progress.phase('transferring')
    const { clock, logger, maxBytesPerSecond } = this.parts
    const transfer = new CheckpointTransfer({
      link,
      inbox,
      offer,
      incoming: this.data.incomingFiles!,
      own: (work) => this.data.own(work),
      clock,
      logger,
      maxBytesPerSecond,
      onKept: (bytes) => this.progress.correct(bytes),
      onBytes: (bytes) => {
        this.chooser.onProgress()
        this.progress.advance(bytes, 0)
        this.parts.onBytes(bytes)
      },
      onDamaged: (bytes) => this.progress.correct(this.progress.status.bytesDone - bytes),
    })
    await transfer.run(signal)
    link.send('checkpointDone', { id: offer.checkpoint.id })
  }

  /** Replays the journal over the content until no snapshot that was used lies ahead. */
  private async catchUp(inbox: SourceInbox, signal: AbortSignal): Promise<void> {
    this.progress.phase('catching-up')
    const { journal } = this.data
    const { highest } = this.data.state!
    let reached = journal.durable.sequence
    let reachedMs = this.parts.clock.nowMs()
    while (journal.durable.sequence < highest.sequence) {
      if (signal.aborted || inbox.ended) {
        throw inbox.error ?? new UnderstudyError('UNAVAILABLE', 'the source ended the connection')
      }
      if (journal.durable.sequence > reached) {
        reached = journal.durable.sequence
        reachedMs = this.parts.clock.nowMs()
      } else if (this.parts.clock.nowMs() - reachedMs > limits.requestTimeoutMs) {
        throw new UnderstudyError(
          'TIMEOUT',
          `the source sent no block after ${reached} within ${limits.requestTimeoutMs} ms`,
        )
      }
      await inbox.wake.wait(limits.pollMs)
    }
    await this.data.replay()
    journal.noteCommitted(Math.max(highest.sequence, Math.min(inbox.committed, journal.durable.sequence)))
  }

  private async install(confirmation: Confirmation): Promise<void> {
    this.progress.phase('installing')
    this.kept = await this.data.checkpoint()
    await this.data.install(confirmation)
    this.parts.pinElsewhere(bootstrapSlot(this.parts.node), 0)
    this.progress.phase('done')
  }
}
