/** The journal of one shard on one node, over the files of one directory. */
import type { Block, EpochStart } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { epochsUpTo } from '../core/recovery.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Journal, SavedTail, SegmentInfo, TailToSave } from '../ports/journal.js'
import type { History } from './history.js'
import { type JournalParts, JournalWriter } from './journal-writer.js'
import { diverged, type ReadOptions } from './segment.js'
import { writeSideFile } from './side-file.js'
import { finishTruncation, removeSegmentsAfter, writeTruncation } from './truncation.js'

export class FileJournal implements Journal {
  private readonly parts: JournalParts
  private readonly history: History
  private readonly writer: JournalWriter
  /** A cut is under way: nothing may be appended, and nothing else is written. */
  private cutting = false
  /** Truncations and trims, one after another. */
  private maintenance: Promise<void> = Promise.resolve()
  private closing: Promise<void> | undefined

  constructor(parts: JournalParts) {
    this.parts = parts
    this.history = parts.history
    this.writer = new JournalWriter(parts)
  }

  get base(): Position {
    return this.history.base
  }

  get appended(): Position {
    return this.writer.end
  }

  get durable(): Position {
    return this.history.durable
  }

  get committedMark(): number {
    return this.writer.committedMark
  }

  get bytes(): number {
    return this.history.bytes
  }

  get pendingBytes(): number {
    return this.writer.queueBytes
  }

  get segments(): readonly SegmentInfo[] {
    return this.history.segments.map((segment) => segment.info)
  }

  get epochs(): readonly EpochStart[] {
    return this.history.epochs
  }

  private alive(): void {
    if (this.writer.failure !== undefined) throw this.writer.failure
    if (this.closing !== undefined)
      throw new UnderstudyError('CLOSED', `${this.parts.directory}: the journal is closed`)
  }

  append(blocks: readonly Block[]): void {
    this.alive()
    invariant(!this.cutting, 'nothing is appended while the journal is cut')
    this.writer.append(blocks)
  }

  noteCommitted(sequence: number): void {
    this.writer.noteCommitted(sequence)
  }

  async mark(): Promise<void> {
    this.alive()
    await this.writer.mark()
  }

  async positionAt(sequence: number): Promise<Position | undefined> {
    this.alive()
    if (sequence === this.writer.end.sequence) return this.writer.end
    if (this.writer.cache.covers(sequence)) return this.writer.cache.positionAt(sequence)
    return await this.reading(() => this.history.positionAt(sequence))
  }

  async read(from: Position, options: ReadOptions): Promise<Block[]> {
    const cached = this.readCached(from, options)
    if (cached !== undefined) return cached
    if (from.sequence > this.durable.sequence) {
      throw diverged(from, `this journal ends at ${this.writer.end.sequence} and has no block end like it`)
    }
    return await this.reading(() => this.history.read(from, options))
  }

  readCached(from: Position, options: ReadOptions): Block[] | undefined {
    this.alive()
    if (from.sequence === this.writer.end.sequence) return from.chain === this.writer.end.chain ? [] : undefined
    return this.writer.cache.read(from, options)
  }

  private async reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.alive()
      throw toUnderstudyError(error, `journal ${this.parts.directory}: read`)
    }
  }

  private exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.maintenance.then(() => {
      this.alive()
      return work()
    })
    this.maintenance = done.then(
      () => undefined,
      () => undefined,
    )
    return done
  }

  async saveTail(tail: TailToSave, directory: string, name: string): Promise<SavedTail | undefined> {
    return await this.exclusively(async () => {
      await this.writer.mark()
      const { history, parts } = this
      const { after, commonSequence } = tail
      const end = this.durable
      const content = {
        identity: history.newest.header.identity,
        base: after,
        commonSequence,
        epochs: epochsUpTo(history.epochs, after.sequence),
        salt: parts.maker.newSalt(),
        end,
        blocks: this.blocksAfter(after, end.sequence),
      }
      return await this.reading(() => writeSideFile(parts.fs, directory, name, content))
    })
  }

  private async *blocksAfter(after: Position, limitSequence: number): AsyncGenerator<Block> {
    for (let at = after; at.sequence < limitSequence; ) {
      const blocks = await this.history.read(at, { bytesMax: limits.journalReadBytes, limitSequence })
      for (const block of blocks) {
        yield block
        at = block.end
      }
    }
  }

  async truncate(to: Position): Promise<void> {
    await this.exclusively(async () => {
      this.cutting = true
      try {
        await this.writer.hold()
        this.alive()
        await this.truncateIdle(to)
      } finally {
        this.cutting = false
        this.writer.release()
      }
    })
  }

  private async truncateIdle(to: Position): Promise<void> {
    const { history, parts } = this
    if (to.sequence < this.base.sequence || to.sequence > this.durable.sequence) {
      throw diverged(to, `the journal reaches from ${this.base.sequence} to ${this.durable.sequence}`)
    }
    const segment = history.find(to.sequence)
    const place = await this.reading(() => segment.use(() => segment.locate(to.sequence)))
    if (place?.position.chain !== to.chain)
      throw diverged(to, `here it is ${place?.position.chain ?? 'inside a block'}`)
    if (to.sequence === this.durable.sequence) return
    try {
      const committed = Math.min(this.writer.committedMark, to.sequence)
      await writeTruncation(parts.fs, parts.directory, { to: place.position, committed })
      const index = history.segments.indexOf(segment)
      const removed = history.segments.splice(index + 1)
      segment.cut(place.position, place.offset)
      history.epochs = epochsUpTo(history.epochs, to.sequence)
      history.generation++
      this.writer.cut(place.position)
      for (const later of removed) await later.retire()
      await removeSegmentsAfter(parts.fs, parts.directory, to)
      await segment.zero(segment.nextOffset)
      await this.writer.writeNote('mark')
      await finishTruncation(parts.fs, parts.directory)
    } catch (error) {
      this.writer.fail(error)
      throw this.writer.failure ?? error
    }
  }

  async trim(sequence: number): Promise<void> {
    await this.exclusively(async () => {
      const { fs, directory } = this.parts
      const { segments } = this.history
      for (;;) {
        const oldest = segments[0]
        if (oldest === undefined || segments.length === 1 || oldest.end.sequence > sequence) return
        try {
          await fs.remove(oldest.path)
          // One at a time and oldest first: a power loss never leaves a hole.
          segments.shift()
          await fs.syncDirectory(directory)
        } catch (error) {
          this.writer.fail(error)
          throw this.writer.failure ?? error
        } finally {
          if (!segments.includes(oldest)) await oldest.retire()
        }
      }
    })
  }

  async close(): Promise<void> {
    this.closing ??= this.finish()
    await this.closing
  }

  private async finish(): Promise<void> {
    await this.maintenance
    await this.writer.close()
    await this.parts.maker.close()
    for (const segment of this.history.segments) await segment.retire()
  }
}
