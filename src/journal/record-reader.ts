/** Reads the records of a segment one after another in bounded memory and says exactly what is wrong with one. */
import { asBuffer, blockHeaderBytes, decodeBlock, decodeBlockHeader } from '../codec/block.js'
import type { Block, BlockHeader } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Mismatch } from '../core/recovery.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { File } from '../ports/file-system.js'
import { alignRecord, decodeNote, hasNoteMagic, type Note, noteBytes } from './segment-format.js'

/** `nextOffset` is where the next record begins. */
export type SegmentRecord =
  | { readonly kind: 'block'; readonly offset: number; readonly nextOffset: number; readonly block: Block }
  | { readonly kind: 'header'; readonly offset: number; readonly nextOffset: number; readonly header: BlockHeader }
  | { readonly kind: 'note'; readonly offset: number; readonly nextOffset: number; readonly note: Note }
  /** Zeros where a record would begin. */
  | { readonly kind: 'end'; readonly offset: number }
  | {
      readonly kind: 'bad'
      readonly offset: number
      /** Where the next record would begin, if an intact header says so. */
      readonly nextOffset: number | undefined
      readonly fault: Mismatch
    }

export const noteFault: Mismatch = { expected: 'a flush mark of this file and place', found: 'another or damaged one' }

export interface RecordSource {
  readonly file: File
  /** Names the file in errors. */
  readonly path: string
  readonly salt: string
}

export class RecordReader {
  offset: number
  private readonly source: RecordSource
  private readonly limit: number
  private readonly chunkBytes: number
  private readonly reuse: boolean
  private window: Buffer = Buffer.alloc(0)
  private windowAt: number
  private spare: Buffer | undefined

  /**
   * Reads from `offset` up to `limit`. Blocks are views into the memory they were read into; with `reuse` that
   * memory is used again, so that a block is valid only until the next call.
   */
  constructor(
    source: RecordSource,
    options: {
      readonly offset: number
      readonly limit: number
      readonly chunkBytes?: number
      readonly reuse?: boolean
    },
  ) {
    this.source = source
    this.offset = options.offset
    this.windowAt = options.offset
    this.limit = options.limit
    this.chunkBytes = options.chunkBytes ?? limits.journalReadBytes
    this.reuse = options.reuse ?? false
  }

  /** The next record whole and checked. Does not move beyond an end or bad record. */
  async next(): Promise<SegmentRecord> {
    const record = await this.nextHeader()
    if (record.kind !== 'header') return record
    const { offset, nextOffset, header } = record
    const blockBytes = blockHeaderBytes + header.payloadBytes
    const bytes = await this.view(offset, nextOffset - offset)
    this.offset = offset
    if (bytes.length < nextOffset - offset) {
      return bad(offset, undefined, { expected: `${blockBytes} bytes of a block`, found: `${bytes.length}` })
    }
    const padding = bytes.subarray(blockBytes)
    if (!isZero(padding)) return bad(offset, nextOffset, { expected: 'zeros after the block', found: hexOf(padding) })
    const block = this.decode(offset, () => decodeBlock(bytes.subarray(0, blockBytes)))
    if (isFault(block)) return bad(offset, nextOffset, block)
    this.offset = nextOffset
    return { kind: 'block', offset, nextOffset, block }
  }

  /** The next record; of a block only its header, checked, without reading the rest. */
  async nextHeader(): Promise<Exclude<SegmentRecord, { kind: 'block' }>> {
    const { offset } = this
    const view = await this.view(offset, blockHeaderBytes)
    if (isZero(view.subarray(0, noteBytes))) return { kind: 'end', offset }
    if (hasNoteMagic(view, 0)) {
      const note = this.decode(offset, () => decodeNote(view, 0, this.source.salt, offset) ?? noteFault)
      if (isFault(note)) return bad(offset, undefined, note)
      this.offset = offset + noteBytes
      return { kind: 'note', offset, nextOffset: this.offset, note }
    }
    const header = this.decode(offset, () => decodeBlockHeader(view))
    if (isFault(header)) return bad(offset, undefined, header)
    const nextOffset = alignRecord(offset + blockHeaderBytes + header.payloadBytes)
    if (nextOffset > this.limit) {
      return bad(offset, undefined, {
        expected: `a block that ends by ${this.limit}`,
        found: `an end at ${nextOffset}`,
      })
    }
    this.offset = nextOffset
    return { kind: 'header', offset, nextOffset, header }
  }

  private decode<T>(offset: number, decoder: () => T): T | Mismatch {
    try {
      return decoder()
    } catch (error) {
      if (isFailure(error, 'FORMAT_VERSION')) {
        throw new UnderstudyError('FORMAT_VERSION', `${this.source.path} at byte ${offset}: ${error.message}`, {
          hint: 'open the directory with the release that wrote it, or a newer one',
        })
      }
      if (!isFailure(error, 'CORRUPTION')) throw error
      const match = /^block: expected (.*), found (.*)$/.exec(error.message)
      return { expected: match?.[1] ?? 'an intact block', found: match?.[2] ?? error.message }
    }
  }

  /** `length` bytes at `offset`, fewer at the limit or at the end of the file. */
  private async view(offset: number, length: number): Promise<Buffer> {
    const wanted = Math.min(length, Math.max(0, this.limit - offset))
    const start = offset - this.windowAt
    if (start >= 0 && start + wanted <= this.window.length) return this.window.subarray(start, start + wanted)
    const known = start >= 0 && start < this.window.length ? this.window.subarray(start) : undefined
    const size = Math.min(Math.max(wanted, this.chunkBytes), this.limit - offset)
    const buffer = this.allocate(size)
    known?.copy(buffer)
    const have = known?.length ?? 0
    const read = await this.source.file.read(buffer.subarray(have), offset + have)
    this.window = buffer.subarray(0, have + read)
    this.windowAt = offset
    return this.window.subarray(0, wanted)
  }

  /** Two buffers in turn when memory is used again: what is known is copied from one to the other. */
  private allocate(size: number): Buffer {
    if (!this.reuse) return Buffer.allocUnsafeSlow(size)
    const free = this.spare
    this.spare = this.window
    return free !== undefined && free.length >= size ? free.subarray(0, size) : Buffer.allocUnsafeSlow(size)
  }
}

/** Highest `flushedBefore` of any note of this file from `offset` on, at any place where a record may begin. */
export async function searchNotes(source: RecordSource, offset: number, limit: number): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(noteBytes, Math.min(limits.journalReadBytes, limit - offset)))
  let highest = -1
  let at = alignRecord(offset)
  while (at + noteBytes <= limit) {
    const view = buffer.subarray(0, await source.file.read(buffer.subarray(0, limit - at), at))
    if (view.length < noteBytes) break
    let start = 0
    for (; start + noteBytes <= view.length; start += 8) {
      const note = decodeNote(view, start, source.salt, at + start)
      if (note !== undefined) highest = Math.max(highest, note.flushedBefore)
    }
    at += start
  }
  return highest
}

/** Offset of the last byte that is not zero from `offset` on; undefined if all are. */
export async function lastNonZero(file: File, offset: number, limit: number): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(limits.journalReadBytes, Math.max(1, limit - offset)))
  let last: number | undefined
  for (let at = offset; at < limit; ) {
    const read = await file.read(buffer.subarray(0, limit - at), at)
    if (read === 0) break
    const view = buffer.subarray(0, read)
    if (!isZero(view)) {
      let index = view.length - 1
      while (view[index] === 0) index--
      last = at + index
    }
    at += read
  }
  return last
}

const zeroPage = Buffer.alloc(4096)

export function isZero(bytes: Uint8Array): boolean {
  const view = asBuffer(bytes)
  for (let at = 0; at < view.length; at += zeroPage.length) {
    const end = Math.min(view.length, at + zeroPage.length)
    if (view.compare(zeroPage, 0, end - at, at, end) !== 0) return false
  }
  return true
}

function bad(offset: number, nextOffset: number | undefined, fault: Mismatch): SegmentRecord & { kind: 'bad' } {
  return { kind: 'bad', offset, nextOffset, fault }
}

function isFault(value: object): value is Mismatch {
  return 'expected' in value
}

function hexOf(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('hex')
}
