/**
 * The writing half of a journal. Blocks gather while the write and fsync of those before are under way; one group is
 * in flight at a time; the first error of a write or fsync ends it all (F17, F18).
 */
import type { Block } from '../core/entry.js'
import { InvariantViolation, invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { continuationFault, epochsAfter, epochsUpTo } from '../core/recovery.js'
import { isFailure, toUnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { FileSystem } from '../ports/file-system.js'
import type { JournalEvents } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { History } from './history.js'
import { damagedName } from './recovery.js'
import { alignRecord, encodeNote, type NoteKind, noteBytes } from './segment-format.js'
import type { SegmentMaker } from './segment-maker.js'
import { TailCache } from './tail-cache.js'

export interface JournalParts {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly logger: Logger
  readonly directory: string
  readonly events: JournalEvents
  readonly maker: SegmentMaker
  readonly history: History
  readonly committed: number
  readonly flushedBefore: number
  readonly tailCacheBytes: number
  readonly idleMarkMs: number
}

interface MarkWaiter {
  readonly sequence: number
  readonly committed: number
  resolve(): void
  reject(error: Error): void
}

const paddings = Array.from({ length: 8 }, (_, length) => new Uint8Array(length))

export class JournalWriter {
  readonly cache: TailCache
  /** End of the last block handed over. */
  end: Position
  failure: Error | undefined
  /** Bytes handed over and not yet durable. */
  queueBytes = 0
  private readonly parts: JournalParts
  private readonly history: History
  private queue: Block[] = []
  private committedNoted: number
  private committedStored: number
  /** Highest sequence that a flush mark (or a later segment's header) covers. */
  private flushedStored: number
  private running: Promise<void> | undefined
  /** A write to a segment is under way or has failed: its pages cannot be trusted after an error. */
  private flushing = false
  private markDue = false
  private markWaiters: MarkWaiter[] = []
  private idleTimer: Timer | undefined
  private lastFlushAtMs = Number.NEGATIVE_INFINITY
  private reporting: Promise<void> = Promise.resolve()
  private held = false
  private closed = false

  constructor(parts: JournalParts) {
    this.parts = parts
    this.history = parts.history
    this.cache = new TailCache(parts.tailCacheBytes)
    this.end = parts.history.durable
    this.committedNoted = parts.committed
    this.committedStored = parts.committed
    this.flushedStored = parts.flushedBefore
    parts.maker.prepare()
    this.armIdleTimer()
  }

  private get durable(): Position {
    return this.history.durable
  }

  get committedMark(): number {
    return Math.min(this.committedStored, this.durable.sequence)
  }

  append(blocks: readonly Block[]): void {
    for (const block of blocks) {
      const fault = continuationFault(this.end, block.header)
      invariant(fault === undefined, `appended blocks continue the journal (${fault?.expected}, not ${fault?.found})`)
      this.history.epochs = epochsAfter(this.history.epochs, this.end, block.header)
      this.end = block.end
      this.queue.push(block)
      this.queueBytes += block.bytes.length
      this.cache.push(block)
    }
    this.cache.evict(this.durable.sequence)
    this.wake()
  }

  noteCommitted(sequence: number): void {
    if (sequence <= this.committedNoted) return
    this.committedNoted = sequence
    this.armIdleTimer()
  }

  async mark(): Promise<void> {
    const { sequence } = this.end
    const waiting = new Promise<void>((resolve, reject) => {
      this.markWaiters.push({ sequence, committed: Math.min(this.committedNoted, sequence), resolve, reject })
    })
    this.wake()
    await waiting
  }

  /** Finishes what is queued and then writes nothing until `release`. */
  async hold(): Promise<void> {
    this.held = true
    await this.idle()
  }

  release(): void {
    this.held = false
    if (this.queue.length > 0 || this.markWaiters.length > 0) this.wake()
    else this.armIdleTimer()
  }

  private async idle(): Promise<void> {
    while (this.running !== undefined) await this.running
  }

  /** What was cut is forgotten: also that it was committed. */
  cut(to: Position): void {
    invariant(this.queue.length === 0 && this.running === undefined, 'only an idle journal is cut')
    this.end = to
    this.cache.clear()
    this.committedNoted = Math.min(this.committedNoted, to.sequence)
    this.committedStored = Math.min(this.committedStored, to.sequence)
    this.flushedStored = Math.min(this.flushedStored, to.sequence)
    // Whoever asked for a mark during the cut waits for no more than what is left.
    this.markWaiters = this.markWaiters.map((waiter) => ({
      ...waiter,
      sequence: Math.min(waiter.sequence, to.sequence),
      committed: Math.min(waiter.committed, to.sequence),
    }))
  }

  async close(): Promise<void> {
    this.closed = true
    this.idleTimer?.cancel()
    if (this.failure === undefined) {
      this.markDue = true
      this.wake()
    }
    await this.idle()
    await this.reporting
  }

  private wake(): void {
    if (this.failure === undefined && !this.held) this.running ??= this.run()
  }

  private async run(): Promise<void> {
    try {
      // What else is appended in this turn joins the first group.
      await undefined
      while (this.queue.length > 0 || this.markDue || this.markWaiters.length > 0) {
        if (this.queue.length > 0) await this.writeGroup()
        else await this.writeMark()
      }
    } catch (error) {
      this.fail(error)
    }
    this.running = undefined
    this.armIdleTimer()
  }

  private note(kind: NoteKind, offset: number): Uint8Array {
    const flushedBefore = this.durable.sequence
    const committed = Math.min(this.committedNoted, flushedBefore)
    return encodeNote({ kind, flushedBefore, committed }, this.history.newest.salt, offset)
  }

  /** Alone, in the newest segment. */
  async writeNote(kind: NoteKind): Promise<void> {
    const segment = this.history.newest
    await this.flush([this.note(kind, segment.nextOffset)], segment.nextOffset)
    segment.nextOffset += noteBytes
  }

  private async flush(parts: readonly Uint8Array[], offset: number): Promise<void> {
    const { file } = this.history.newest
    this.flushing = true
    await file.write(parts, offset)
    await file.datasync()
    this.flushing = false
  }

  private stored(flushedBefore: number, committed: number): void {
    this.flushedStored = flushedBefore
    this.committedStored = Math.max(this.committedStored, committed)
    const settled = (waiter: MarkWaiter): boolean =>
      this.flushedStored >= waiter.sequence && this.committedStored >= waiter.committed
    for (const waiter of this.markWaiters) if (settled(waiter)) waiter.resolve()
    this.markWaiters = this.markWaiters.filter((waiter) => !settled(waiter))
  }

  /** One write of a flush mark and as many blocks as are there and fit, then one fsync. */
  private async writeGroup(): Promise<void> {
    const group = await this.takeGroup()
    const segment = this.history.newest
    const { nextOffset: start } = segment
    const flushedBefore = this.durable.sequence
    const committed = Math.min(this.committedNoted, flushedBefore)
    const parts: Uint8Array[] = [this.note('mark', start)]
    let offset = start + noteBytes
    let previous = this.durable
    let bytes = 0
    for (const block of group) {
      segment.remember(previous, offset)
      const next = alignRecord(offset + block.bytes.length)
      parts.push(block.bytes)
      const padding = paddings[next - offset - block.bytes.length]
      if (padding !== undefined && padding.length > 0) parts.push(padding)
      offset = next
      previous = block.end
      bytes += block.bytes.length
    }
    const startedMs = this.parts.clock.nowMs()
    await this.flush(parts, start)
    this.lastFlushAtMs = this.parts.clock.nowMs()
    segment.end = previous
    segment.nextOffset = offset
    this.queue.splice(0, group.length)
    this.queueBytes -= bytes
    this.cache.evict(previous.sequence)
    this.stored(flushedBefore, Math.max(committed, group.at(-1)?.header.committed ?? 0))
    this.parts.events.onDurable(previous, this.lastFlushAtMs - startedMs)
  }

  private async takeGroup(): Promise<Block[]> {
    const first = this.queue[0]
    invariant(first !== undefined, 'a group is taken when blocks wait')
    const needed = noteBytes + alignRecord(first.bytes.length)
    if (needed > this.history.newest.roomBytes) await this.beginSegment(needed)
    let room = this.history.newest.roomBytes - noteBytes
    let count = 0
    for (const block of this.queue) {
      room -= alignRecord(block.bytes.length)
      if (room < 0 || count === limits.flushBlocksMax) break
      count++
    }
    return this.queue.slice(0, count)
  }

  /** A flush mark alone. Where there is no room for one, the header of a new segment says the same. */
  private async writeMark(): Promise<void> {
    this.markDue = false
    const segment = this.history.newest
    if (!this.needsMark()) {
      this.stored(this.flushedStored, this.committedStored)
      return
    }
    const flushedBefore = this.durable.sequence
    const committed = Math.min(this.committedNoted, flushedBefore)
    if (segment.roomBytes < noteBytes) {
      await this.beginSegment(0)
    } else {
      await this.writeNote('mark')
    }
    this.lastFlushAtMs = this.parts.clock.nowMs()
    this.stored(flushedBefore, committed)
  }

  private needsMark(): boolean {
    const { sequence } = this.durable
    return this.flushedStored < sequence || this.committedStored < Math.min(this.committedNoted, sequence)
  }

  /** Everything before is durable here. The old segment is sealed before the new one gets its first block. */
  private async beginSegment(recordBytes: number): Promise<void> {
    const { history, parts } = this
    const old = history.newest
    const base = old.end
    const committed = Math.min(this.committedNoted, base.sequence)
    const epochs = epochsUpTo(history.epochs, base.sequence)
    const segment = await parts.maker.make({ base, committed, epochs }, recordBytes + noteBytes)
    if (old.isEmpty) {
      // It had the same name, and the new file has replaced it.
      history.segments.pop()
      history.segments.push(segment)
      await old.retire()
    } else {
      await this.writeNote('seal')
      history.segments.push(segment)
    }
    parts.maker.prepare()
  }

  /** One timer at most: when it fires too early, because something was flushed meanwhile, it is set again. */
  private armIdleTimer(): void {
    const { clock, idleMarkMs } = this.parts
    if (this.idleTimer !== undefined || this.running !== undefined || !this.needsMark()) return
    if (this.failure !== undefined || this.held || this.closed) return
    const delayMs = Math.max(0, this.lastFlushAtMs + idleMarkMs - clock.nowMs())
    this.idleTimer = clock.setTimer(delayMs, () => {
      this.idleTimer = undefined
      if (this.running !== undefined || this.held || this.closed || this.failure !== undefined) return
      if (clock.nowMs() - this.lastFlushAtMs < idleMarkMs) {
        this.armIdleTimer()
        return
      }
      this.markDue = this.needsMark()
      if (this.markDue) this.wake()
    })
  }

  /** The end: `failure` is what every later call gets. */
  fail(error: unknown): void {
    if (this.failure !== undefined) return
    const { directory, events, logger } = this.parts
    const doing = `journal ${directory}`
    const full = isFailure(toUnderstudyError(error, doing), 'DISK_FULL')
    const hint = full
      ? `free space on the file system of ${directory}, then restart the node`
      : 'check the disk and the kernel log, then restart the node: what survived is copied to a new file first'
    const failure = error instanceof InvariantViolation ? error : toUnderstudyError(error, doing, { hint })
    this.failure = failure
    this.idleTimer?.cancel()
    this.queue = []
    this.queueBytes = 0
    for (const waiter of this.markWaiters) waiter.reject(failure)
    this.markWaiters = []
    logger.error({ directory, error: failure }, 'the journal has failed')
    if (this.flushing) this.reporting = this.leaveDamagedMarker()
    events.onFailed(failure)
  }

  /** Best effort: without it, recovery still writes again what no flush mark covers. */
  private async leaveDamagedMarker(): Promise<void> {
    const { fs, directory, logger } = this.parts
    try {
      const path = fs.join(directory, damagedName)
      if ((await fs.stat(path)) !== undefined) return
      const file = await fs.open(path, 'create')
      await file.sync()
      await file.close()
      await fs.syncDirectory(directory)
    } catch (error) {
      logger.warn({ directory, error }, 'the failure could not be noted in the directory')
    }
  }
}
