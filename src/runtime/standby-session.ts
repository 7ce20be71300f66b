import { decodeBlock } from '../codec/block.js'
import { decodeMessage, type Message, type MessageName } from '../codec/messages.js'
import { refuseAppend } from '../core/append.js'
import { decideRejoin } from '../core/history.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { compareEpochs, type Epoch, formatEpoch, type Position } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { errorFromFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { Journal } from '../ports/journal.js'
import type { Forwarder } from './forwarder.js'

/** How a session with the primary ended, as far as it decides what comes next. */
export type SessionEnd =
  | { readonly type: 'lost'; readonly error: UnderstudyError | undefined }
  | { readonly type: 'bootstrap'; readonly reason: string }
  /** Entries after `to` must be undone, up to `end`. They are in a side file. */
  | { readonly type: 'rewind'; readonly to: Position; readonly end: Position }
  | { readonly type: 'fence'; readonly error: UnderstudyError }

export interface StandbyParts {
  readonly link: Link
  readonly journal: Journal
  readonly clock: Clock
  readonly forwarder: Forwarder
  readonly committed: () => number
  readonly applied: () => number
  readonly promised: () => Epoch
  /** Durable when it resolves: the promise first, then the record. */
  readonly adopt: (epoch: Epoch, record: ShardRecord | undefined) => Promise<void>
  readonly onSubscribed: (epoch: Epoch) => void
  readonly onCaughtUp: () => void
  /** Committed as far as this session vouches for it: at most what was matched or received in it. */
  readonly onCommitted: (sequence: number) => void
  /** Promises not to take over for a while; false if this node cannot promise that now. */
  readonly givePromise: (epoch: Epoch) => boolean
  /** How the freshness of what is applied here is known: told under a lease, or taken from what was announced. */
  readonly freshness: 'told' | 'announced'
  /** What is committed here may be undone: durability `local`, or the primary's epoch began by a forced promotion. */
  readonly mayUndo: boolean
  readonly lossySince: Epoch
  /** Durable when it resolves: what the journal has after the common position. */
  readonly saveTail: (common: Position) => Promise<void>
  readonly onTruncated: (to: Position, cutEntries: number) => void
  readonly count: { checksumFailure(): void; gap(): void }
}

/**
 * Standby's side of following the primary. Every block is checked before it is appended as it came; what fsync has
 * covered is acknowledged, in this session's epoch only.
 */
export class StandbySession {
  private readonly parts: StandbyParts
  private readonly link: Link
  private readonly journal: Journal
  private epoch: Epoch | undefined
  private catchUpTo = 0
  private caughtUp = false
  private recordVersion = 0
  private announced = 0
  private freshAtMs: number | undefined
  /** Told, and not applied yet: as soon as `sequence` is, the data here is as of `atMs`. Oldest first. */
  private freshMarks: Array<{ readonly sequence: number; readonly atMs: number }> = []
  /** Bytes that arrived and whose credit was not yet given back; the sequence that ends each piece. */
  private readonly uncredited: Array<{ readonly sequence: number; readonly bytes: number }> = []
  private recordTurn: Promise<void> = Promise.resolve()

  constructor(parts: StandbyParts) {
    this.parts = parts
    this.link = parts.link
    this.journal = parts.journal
  }

  /** Entries that the primary has announced as committed and that are not applied here. */
  get lagEntries(): number {
    return Math.max(0, this.announced - this.parts.applied())
  }

  /** True while the stream of this epoch stands and its primary was heard lately. */
  hears(epoch: Epoch): boolean {
    return this.epoch !== undefined && compareEpochs(this.epoch, epoch) === 0 && !this.link.isClosed
  }

  /** How long the primary has said nothing. */
  get silentForMs(): number {
    return this.link.silentForMs
  }

  /** Highest sequence that the primary announced as committed in this session. */
  get announcedSequence(): number {
    return this.announced
  }

  /** Own clock: everything that the primary had committed then is applied here; undefined before the first time. */
  get freshSinceMs(): number | undefined {
    return this.freshAtMs
  }

  /** How long ago everything that the primary had announced was applied here; undefined before the first time. */
  get lagMs(): number | undefined {
    return this.freshAtMs === undefined ? undefined : Math.max(0, Math.round(this.parts.clock.nowMs() - this.freshAtMs))
  }

  /** Own clock: when we sent what the primary has last shown to have heard (L3); undefined where that is not measured. */
  get hearsPrimaryAtMs(): number | undefined {
    return this.link.heardAtMs
  }

  async run(signal: AbortSignal): Promise<SessionEnd> {
    const onAbort = () => this.link.close(new UnderstudyError('ABORTED', 'the session was ended'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const end = await this.subscribe(signal)
      if (end !== undefined) return end
      return { type: 'lost', error: await this.link.closed }
    } catch (error) {
      return { type: 'lost', error: toUnderstudyError(error, `following ${this.link.remote}`) }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.parts.forwarder.detach(this.link)
      this.link.close()
    }
  }

  /** The journal's fsync has reached `position`. */
  onDurable(): void {
    if (this.epoch === undefined) return
    const durable = this.journal.durable.sequence
    let bytes = 0
    while (this.uncredited[0] !== undefined && this.uncredited[0].sequence <= durable)
      bytes += this.uncredited.shift()!.bytes
    if (bytes > 0) this.link.send('credit', { bytes })
    this.acknowledge()
    this.checkCaughtUp()
  }

  /** A higher epoch was promised: this session is over. */
  onPromise(): void {
    if (this.epoch !== undefined && compareEpochs(this.epoch, this.parts.promised()) < 0) {
      this.link.fail({ code: 'STALE_EPOCH', message: `epoch ${formatEpoch(this.parts.promised())} was promised` })
    }
  }

  onApplied(): void {
    if (this.epoch === undefined) return
    if (this.parts.freshness === 'told') this.useFreshMarks()
    else if (this.parts.applied() >= this.announced) this.freshAtMs = this.parts.clock.nowMs()
    this.acknowledge()
  }

  /** Asks to leave the in-sync set; resolves when the primary has agreed or said no. */
  async leave(node: string, timeoutMs: number): Promise<void> {
    if (this.epoch === undefined || this.link.isClosed) return
    const left = new Promise<void>((resolve) => {
      this.onRecord = (record) => {
        if (!record.inSync.some((member) => member.node === node)) resolve()
      }
    })
    this.link.send('leave', {})
    let timer: { cancel(): void } | undefined
    const late = new Promise<void>((resolve) => {
      timer = this.parts.clock.setTimer(timeoutMs, resolve)
    })
    await Promise.race([left, late, this.link.closed])
    timer?.cancel()
  }
  private onRecord: ((record: ShardRecord) => void) | undefined

  /** Undefined once blocks flow; the end of the session if they cannot. */
  private async subscribe(signal: AbortSignal): Promise<SessionEnd | undefined> {
    for (let attempt = 0; attempt < 3; attempt++) {
      // Blocks of an earlier session that are still being written belong to the position that is told.
      await this.journal.mark()
      this.link.send('subscribe', {
        position: this.journal.durable,
        epochs: this.journal.epochs,
        creditBytes: limits.creditBytes,
      })
      const [name, payload] = await this.link.expectOneOf(
        ['stream', 'tooOld', 'diverged'],
        limits.requestTimeoutMs,
        signal,
      )
      if (name === 'tooOld') {
        const { base } = decodeMessage('tooOld', payload)
        return {
          type: 'bootstrap',
          reason: `the primary's journal begins after ${base.sequence}, this one ends at ${this.journal.durable.sequence}`,
        }
      }
      if (name === 'stream') {
        await this.beginStream(decodeMessage('stream', payload))
        return undefined
      }
      const end = await this.rejoin(decodeMessage('diverged', payload).common)
      if (end !== undefined) return end
    }
    return {
      type: 'fence',
      error: new UnderstudyError('DIVERGED', `${this.link.remote}: no common position after three attempts`),
    }
  }

  /** Cuts a tail that the primary's history does not have and that was never committed; the rest is for a repair. */
  private async rejoin(common: Position): Promise<SessionEnd | undefined> {
    const decision = decideRejoin({
      common,
      base: this.journal.base,
      end: this.journal.appended,
      here: await this.journal.positionAt(common.sequence),
      committed: this.parts.committed(),
      applied: this.parts.applied(),
      mayUndo: this.parts.mayUndo,
      lossySince: this.parts.lossySince,
    })
    switch (decision.type) {
      case 'fence':
        return { type: 'fence', error: errorFromFailure(decision.failure) }
      case 'bootstrap':
        return decision
      case 'rewind':
        await this.parts.saveTail(decision.to)
        return { type: 'rewind', to: decision.to, end: this.journal.durable }
      case 'truncate':
        await this.parts.saveTail(decision.to)
        await this.journal.truncate(decision.to)
        this.parts.onTruncated(decision.to, decision.cutEntries)
        return undefined
    }
  }

  private async beginStream(stream: Message<'stream'>): Promise<void> {
    invariant(stream.from.sequence === this.journal.appended.sequence, 'a stream begins where the journal ends')
    if (compareEpochs(stream.epoch, this.parts.promised()) < 0) {
      throw new UnderstudyError(
        'STALE_EPOCH',
        `the primary speaks for epoch ${formatEpoch(stream.epoch)}, ${formatEpoch(this.parts.promised())} was promised`,
      )
    }
    // The primary sends its record right after: both are durable here before anything is answered in this epoch (S3).
    const { record } = await this.link.expect('record', limits.requestTimeoutMs)
    await this.parts.adopt(stream.epoch, record)
    this.recordVersion = record.version
    this.epoch = stream.epoch
    this.catchUpTo = stream.end
    this.parts.forwarder.attach(this.link, stream.epoch, stream.epochStart)
    this.parts.onSubscribed(stream.epoch)
    this.acknowledge()
    this.noteCommitted(stream.committed)
    this.link.onPulse = () => this.acknowledge()
    this.link.handle((name, payload) => this.receive(name, payload))
    this.checkCaughtUp()
  }

  private receive(name: MessageName | 'block', payload: Uint8Array): void {
    switch (name) {
      case 'block':
        this.append(payload)
        return
      case 'committed': {
        const { epoch, sequence } = decodeMessage('committed', payload)
        if (this.epoch === undefined || compareEpochs(epoch, this.epoch) !== 0) {
          throw new UnderstudyError('STALE_EPOCH', `committed announced for epoch ${formatEpoch(epoch)}`)
        }
        this.noteCommitted(sequence)
        return
      }
      case 'record':
        this.adoptRecord(decodeMessage('record', payload).record)
        return
      case 'leaseRequest': {
        const { epoch, id } = decodeMessage('leaseRequest', payload)
        this.promise(epoch, id)
        return
      }
      case 'fresh': {
        const { epoch, sequence, echo } = decodeMessage('fresh', payload)
        this.noteFresh(epoch, sequence, echo)
        return
      }
      case 'forwarded':
        this.parts.forwarder.answered(decodeMessage('forwarded', payload))
        return
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected from the primary`)
    }
  }

  private append(bytes: Uint8Array): void {
    let block: ReturnType<typeof decodeBlock>
    try {
      block = decodeBlock(bytes)
    } catch (error) {
      this.parts.count.checksumFailure()
      throw error
    }
    const failure = refuseAppend({
      header: block.header,
      end: this.journal.appended,
      sessionEpoch: this.epoch!,
      promised: this.parts.promised(),
    })
    if (failure !== undefined) {
      if (failure.code === 'PROTOCOL') this.parts.count.gap()
      throw errorFromFailure(failure)
    }
    this.uncredited.push({ sequence: block.end.sequence, bytes: bytes.length })
    this.journal.append([block])
    this.noteCommitted(block.header.committed)
  }

  private noteCommitted(sequence: number): void {
    // Blocks of a dead history never count: what is here was matched with the primary when the stream began (C1).
    this.announced = Math.max(this.announced, sequence)
    this.parts.onCommitted(Math.min(sequence, this.journal.appended.sequence))
    if (this.parts.freshness === 'announced' && this.caughtUp && this.parts.applied() >= sequence)
      this.freshAtMs = this.parts.clock.nowMs()
  }

  /** The promise binds before it is sent, and only while this epoch is the highest known here. */
  private promise(epoch: Epoch, id: number): void {
    if (this.epoch === undefined || compareEpochs(epoch, this.epoch) !== 0) {
      throw new UnderstudyError('STALE_EPOCH', `a promise was asked for in epoch ${formatEpoch(epoch)}`)
    }
    if (this.parts.givePromise(epoch)) this.link.send('leasePromise', { epoch, id })
  }

  /**
   * Counted from when we sent the stamp that comes back, so that what was held up on its way is no fresher for it (L6).
   */
  private noteFresh(epoch: Epoch, sequence: number, atMs: number): void {
    if (this.epoch === undefined || compareEpochs(epoch, this.epoch) !== 0) {
      throw new UnderstudyError('STALE_EPOCH', `freshness told for epoch ${formatEpoch(epoch)}`)
    }
    if (atMs > this.parts.clock.nowMs()) throw new UnderstudyError('PROTOCOL', 'freshness of a time to come')
    // Not announced by this: it may be committed and not yet applied on the primary (I7).
    // Full: what is in it is applied first, and tells less with every mark that is left out after it.
    if (this.freshMarks.length < limits.freshMarksMax) this.freshMarks.push({ sequence, atMs })
    this.useFreshMarks()
  }

  private useFreshMarks(): void {
    const applied = this.parts.applied()
    for (let mark = this.freshMarks[0]; mark !== undefined && mark.sequence <= applied; mark = this.freshMarks[0]) {
      this.freshAtMs = Math.max(this.freshAtMs ?? 0, mark.atMs)
      this.freshMarks.shift()
    }
  }

  private adoptRecord(record: ShardRecord): void {
    this.recordTurn = this.recordTurn
      .then(async () => {
        if (this.link.isClosed || record.version <= this.recordVersion) return
        await this.parts.adopt(record.epoch, record)
        this.recordVersion = record.version
        this.onRecord?.(record)
        this.acknowledge()
      })
      .catch((error) => this.link.fail(toUnderstudyError(error, 'storing the record')))
  }

  /** Only here is an acknowledgement made; never in an epoch below the one promised. */
  private acknowledge(): void {
    if (this.epoch === undefined || this.link.isClosed) return
    if (compareEpochs(this.epoch, this.parts.promised()) < 0) {
      this.link.fail({ code: 'STALE_EPOCH', message: `epoch ${formatEpoch(this.parts.promised())} was promised` })
      return
    }
    this.link.send('ack', {
      epoch: this.epoch,
      received: this.journal.appended.sequence,
      durable: this.journal.durable.sequence,
      applied: this.parts.applied(),
      recordVersion: this.recordVersion,
    })
  }

  private checkCaughtUp(): void {
    if (this.caughtUp || this.journal.durable.sequence < this.catchUpTo) return
    this.caughtUp = true
    this.parts.onCaughtUp()
  }
}
