/** Reads a whole segment at recovery: checks every block, rebuilds its index, tells tail from damage. Writes nothing. */
import type { EpochStart } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { continuationFault, epochsAfter, judgeDamage, type Mismatch } from '../core/recovery.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { File } from '../ports/file-system.js'
import { lastNonZero, RecordReader, searchNotes } from './record-reader.js'
import { corruptionAt, type Segment } from './segment.js'
import { decodeSegmentHeader, type Note, type SegmentHeader, segmentHeaderBytesMax } from './segment-format.js'

export interface SegmentScan {
  readonly segment: Segment
  readonly sealed: boolean
  readonly epochs: readonly EpochStart[]
  /** Highest committed sequence of any block or note. */
  readonly committed: number
  /** Highest sequence that a note of this file says was fsynced. */
  readonly flushedBefore: number
  /** Where that begins of which no later note of this file says that it was fsynced: the last note itself. */
  readonly uncoveredOffset: number
  /** Bytes after `segment.nextOffset` that are to be zeroed; 0 if there is nothing but zeros. */
  readonly tailBytes: number
  readonly tailFault: Mismatch | undefined
}

/** The header of a segment file, or what is wrong with it. */
export async function readSegmentHeader(file: File, path: string): Promise<SegmentHeader | Mismatch> {
  const bytes = Buffer.allocUnsafeSlow(segmentHeaderBytesMax)
  const read = await file.read(bytes, 0)
  try {
    return decodeSegmentHeader(bytes.subarray(0, read))
  } catch (error) {
    if (!isFailure(error, 'FORMAT_VERSION')) throw error
    throw new UnderstudyError('FORMAT_VERSION', `${path}: ${error.message}`, { hint: error.hint ?? '' })
  }
}

/**
 * `vouched` is what later segments (or an unfinished cut) say was durable. `target`: the journal is to end there,
 * whatever follows.
 */
export async function scanSegment(
  segment: Segment,
  options: {
    readonly epochs: readonly EpochStart[]
    readonly vouched: number
    readonly target: Position | undefined
  },
): Promise<SegmentScan> {
  const { path, header } = segment
  const size = await segment.file.size()
  if (size !== header.fileBytes) {
    throw corruptionAt(path, size, { expected: `a file of ${header.fileBytes} bytes`, found: `${size}` })
  }
  let { epochs } = options
  let committed = header.committed
  let flushedBefore = header.base.sequence
  let uncoveredOffset = header.headerBytes
  const scan = (rest: Pick<SegmentScan, 'sealed' | 'tailBytes' | 'tailFault'>): SegmentScan => ({
    segment,
    epochs,
    committed,
    flushedBefore,
    uncoveredOffset,
    ...rest,
  })
  const reader = new RecordReader(segment, { offset: header.headerBytes, limit: header.fileBytes, reuse: true })
  for (;;) {
    if (options.target !== undefined && segment.end.sequence >= options.target.sequence) {
      return scan({ sealed: false, ...(await cutAt(segment, options.target)) })
    }
    const record = await reader.next()
    switch (record.kind) {
      case 'block': {
        const { block } = record
        const fault = continuationFault(segment.end, block.header)
        if (fault !== undefined) throw corruptionAt(path, record.offset, fault)
        segment.remember(segment.end, record.offset)
        epochs = epochsAfter(epochs, segment.end, block.header)
        committed = Math.max(committed, block.header.committed)
        segment.end = block.end
        segment.nextOffset = record.nextOffset
        break
      }
      case 'note': {
        checkNote(segment, record.offset, record.note)
        committed = Math.max(committed, record.note.committed)
        flushedBefore = record.note.flushedBefore
        segment.nextOffset = record.nextOffset
        uncoveredOffset = record.offset
        if (record.note.kind === 'seal') return scan({ sealed: true, tailBytes: 0, tailFault: undefined })
        break
      }
      case 'header':
      case 'end':
      case 'bad': {
        const last = await lastNonZero(segment.file, record.offset, header.fileBytes)
        if (last === undefined) return scan({ sealed: false, tailBytes: 0, tailFault: undefined })
        const fault =
          record.kind === 'bad'
            ? record.fault
            : { expected: 'zeros to the end of the file', found: `other bytes up to ${last}` }
        const noted = await searchNotes(segment, record.offset, header.fileBytes)
        const verdict = judgeDamage({
          firstBadSequence: segment.end.sequence + 1,
          flushedBefore: Math.max(options.vouched, noted),
        })
        if (verdict === 'corruption') throw corruptionAt(path, record.offset, fault)
        return scan({ sealed: false, tailBytes: last + 1 - record.offset, tailFault: fault })
      }
    }
  }
}

async function cutAt(segment: Segment, target: Position): Promise<{ tailBytes: number; tailFault: undefined }> {
  const { path, end, nextOffset, file, header } = segment
  if (end.sequence !== target.sequence || end.chain !== target.chain) {
    throw corruptionAt(path, nextOffset, {
      expected: `sequence ${target.sequence} and chain ${target.chain}, where the journal was to be cut`,
      found: `sequence ${end.sequence} and chain ${end.chain}`,
    })
  }
  const last = await lastNonZero(file, nextOffset, header.fileBytes)
  return { tailBytes: last === undefined ? 0 : last + 1 - nextOffset, tailFault: undefined }
}

/** All blocks before a note were durable when it was written, and all that were durable stand before it. */
function checkNote(segment: Segment, offset: number, note: Note): void {
  if (note.flushedBefore === segment.end.sequence && note.committed <= note.flushedBefore) return
  throw corruptionAt(segment.path, offset, {
    expected: `a flush mark at sequence ${segment.end.sequence}`,
    found: `one at ${note.flushedBefore}, committed ${note.committed}`,
  })
}

/** Copies the bytes of a segment up to `nextOffset`, from `offset` on, to the same place of `into`. */
export async function copyBytes(segment: Segment, offset: number, into: File): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(limits.journalReadBytes, Math.max(1, segment.nextOffset - offset)))
  for (let at = offset; at < segment.nextOffset; ) {
    const read = await segment.file.read(buffer.subarray(0, segment.nextOffset - at), at)
    if (read === 0) {
      throw corruptionAt(segment.path, at, {
        expected: 'the bytes that were there before',
        found: 'the end of the file',
      })
    }
    await into.write([buffer.subarray(0, read)], at)
    at += read
  }
}
