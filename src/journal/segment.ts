/** One open segment file: where its blocks are, and reading them. Writing order is the journal's business. */
import type { Block, BlockHeader } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { continuationFault, type Mismatch } from '../core/recovery.js'
import { UnderstudyError } from '../errors.js'
import type { File } from '../ports/file-system.js'
import type { SegmentInfo } from '../ports/journal.js'
import { RecordReader, type SegmentRecord } from './record-reader.js'
import { noteBytes, type SegmentHeader } from './segment-format.js'

export interface ReadOptions {
  readonly bytesMax: number
  readonly limitSequence: number
}

/** A place where reading may begin: the record at `offset` follows `position`. */
interface IndexEntry {
  readonly position: Position
  readonly offset: number
}

const zeros = Buffer.alloc(limits.segmentFillBytes)

export class Segment {
  readonly name: string
  readonly path: string
  readonly header: SegmentHeader
  file: File
  /** Position after the last block of this file that is durable. */
  end: Position
  /** Where the next record goes; everything before is durable. */
  nextOffset: number
  private index: IndexEntry[] = []
  private users = 0
  private retired = false

  constructor(name: string, path: string, header: SegmentHeader, file: File) {
    this.name = name
    this.path = path
    this.header = header
    this.file = file
    this.end = header.base
    this.nextOffset = header.headerBytes
  }

  get base(): Position {
    return this.header.base
  }

  get salt(): string {
    return this.header.salt
  }

  get isEmpty(): boolean {
    return this.end.sequence === this.base.sequence
  }

  /** Bytes of records that may still follow; the place of the seal is kept free. */
  get roomBytes(): number {
    return this.header.fileBytes - this.nextOffset - noteBytes
  }

  get info(): SegmentInfo {
    return {
      name: this.name,
      firstSequence: this.base.sequence + 1,
      lastSequence: this.end.sequence,
      bytes: this.header.fileBytes,
    }
  }

  /** Remembers the place of the record that follows `position`, about every `segmentIndexBytes`. */
  remember(position: Position, offset: number): void {
    const last = this.index.at(-1)
    if (last !== undefined && offset - last.offset < limits.segmentIndexBytes) return
    this.index.push({ position, offset })
  }

  /** Forgets everything after `position`, whose next record goes to `offset`. */
  cut(position: Position, offset: number): void {
    this.end = position
    this.nextOffset = offset
    this.index = this.index.filter((entry) => entry.position.sequence <= position.sequence && entry.offset <= offset)
  }

  private start(sequence: number): IndexEntry {
    let low = 0
    let high = this.index.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const entry = this.index[middle]
      if (entry !== undefined && entry.position.sequence <= sequence) low = middle + 1
      else high = middle
    }
    return this.index[low - 1] ?? { position: this.base, offset: this.header.headerBytes }
  }

  private reader(offset: number, chunkBytes: number): RecordReader {
    return new RecordReader(this, { offset, limit: this.nextOffset, chunkBytes })
  }

  /** The block end at exactly `sequence` and where the block ends; undefined if no block of this file ends there. */
  async locate(sequence: number): Promise<{ position: Position; offset: number } | undefined> {
    invariant(sequence >= this.base.sequence && sequence <= this.end.sequence, 'a segment is asked for what it holds')
    // Taken together: more may be appended while this reads.
    const { end } = this
    const start = this.start(sequence)
    if (start.position.sequence === sequence) return start
    const reader = this.reader(start.offset, limits.segmentIndexBytes)
    let before = { sequence: start.position.sequence, epoch: start.position.epoch }
    let offset = start.offset
    for (;;) {
      if (before.sequence > sequence) return undefined
      if (before.sequence === sequence && sequence === end.sequence) return { position: end, offset }
      const record = await reader.nextHeader()
      if (record.kind === 'note') continue
      if (record.kind !== 'header') throw this.corruption(record, sequence)
      this.checkSequence(record.offset, before.sequence, record.header)
      if (before.sequence === sequence) {
        return { position: { ...before, chain: record.header.chainBefore }, offset }
      }
      before = endOf(record.header)
      offset = record.nextOffset
    }
  }

  /**
   * Blocks after `from`, which must lie in this file before its end. Each is checked whole and against the one
   * before it; `DIVERGED` if `from` is not the end of a block here.
   */
  async read(from: Position, options: ReadOptions): Promise<Block[]> {
    // Taken together: more may be appended while this reads.
    const last = Math.min(this.end.sequence, options.limitSequence)
    const start = this.start(from.sequence)
    const reader = this.reader(
      start.offset,
      Math.min(limits.journalReadBytes, options.bytesMax + limits.segmentIndexBytes),
    )
    let before: number = start.position.sequence
    while (before < from.sequence) {
      const record = await reader.nextHeader()
      if (record.kind === 'note') continue
      if (record.kind !== 'header') throw this.corruption(record, from.sequence)
      this.checkSequence(record.offset, before, record.header)
      before = endOf(record.header).sequence
    }
    if (before > from.sequence) throw diverged(from, `a block of this journal ends at ${before}, none at that sequence`)
    const blocks: Block[] = []
    let previous = from
    let bytes = 0
    while (previous.sequence < last) {
      const record = await reader.next()
      if (record.kind === 'note') continue
      if (record.kind !== 'block') throw this.corruption(record, previous.sequence + 1)
      const { block } = record
      // A block of another sequence in this place is damage, whatever `from` is: it is no other history.
      this.checkSequence(record.offset, previous.sequence, block.header)
      if (previous === from && block.header.chainBefore !== from.chain) {
        throw diverged(from, `the chain here is ${block.header.chainBefore}, the one asked for ${from.chain}`)
      }
      const fault = continuationFault(previous, block.header)
      if (fault !== undefined) throw corruptionAt(this.path, record.offset, fault)
      bytes += block.bytes.length
      const fits = blocks.length === 0 || bytes <= options.bytesMax
      if (!fits || block.end.sequence > options.limitSequence) break
      blocks.push(block)
      previous = block.end
    }
    return blocks
  }

  private checkSequence(offset: number, before: number, header: BlockHeader): void {
    if (header.firstSequence === before + 1) return
    throw corruptionAt(this.path, offset, {
      expected: `a block that begins with sequence ${before + 1}`,
      found: `sequence ${header.firstSequence}`,
    })
  }

  private corruption(record: SegmentRecord, sequence: number): UnderstudyError {
    const fault = record.kind === 'bad' ? record.fault : { expected: `sequence ${sequence}`, found: 'zeros' }
    return corruptionAt(this.path, record.offset, fault)
  }

  /** Overwrites everything from `offset` to the end of the file with zeros. Not synced. */
  async zero(offset: number): Promise<void> {
    await writeZeros(this.file, offset, this.header.fileBytes)
  }

  /** Keeps the file open while `work` uses it, also when the segment is trimmed meanwhile. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.users++
    try {
      return await work()
    } finally {
      this.users--
      if (this.retired && this.users === 0) await this.file.close()
    }
  }

  /** Recovery only: goes on with a copy of the file. */
  async replaceFile(file: File): Promise<void> {
    await this.file.close()
    this.file = file
  }

  /** Closes the file as soon as nobody reads it. */
  async retire(): Promise<void> {
    this.retired = true
    if (this.users === 0) await this.file.close()
  }
}

export async function writeZeros(file: File, offset: number, end: number): Promise<void> {
  for (let at = offset; at < end; at += zeros.length) {
    await file.write([zeros.subarray(0, Math.min(zeros.length, end - at))], at)
  }
}

function endOf(header: BlockHeader): { sequence: number; epoch: Epoch } {
  return { sequence: header.firstSequence + header.entryCount - 1, epoch: header.epoch }
}

export function diverged(from: Position, reason: string): UnderstudyError {
  return new UnderstudyError('DIVERGED', `sequence ${from.sequence} is not in this history: ${reason}`)
}

/** Damage that was durable once: never cut, never served, never skipped. */
export function corruptionAt(path: string, offset: number, fault: Mismatch): UnderstudyError {
  return new UnderstudyError(
    'CORRUPTION',
    `${path} is damaged at byte ${offset}: expected ${fault.expected}, found ${fault.found}`,
    {
      hint: 'the shard must be repaired from another node; "understudy journal DIR" shows what can still be read',
    },
  )
}
