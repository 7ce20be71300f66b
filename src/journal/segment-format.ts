/**
 * Segment file, format version 1. Little-endian. A header, then records, each aligned to 8 bytes and padded with
 * zeros; zeros from the last record to the end of the file, whose size never changes.
 *
 * Header (a multiple of 4096 bytes):
 *   0  magic         u32  "USJH"
 *   4  checksum      u32  CRC-32 of bytes 8 to the end of the header
 *   8  version       u16
 *  10  reserved      u16  zero
 *  12  header bytes  u32
 *  16  file bytes    u64
 *  24  salt          8 random bytes, of this file alone
 *  32  fields: cluster, shard, historyId, base position, committed, epochs; then zeros
 *
 * Records: blocks, exactly as the block codec encodes them, and notes of 64 bytes:
 *   0  magic          u32  "USJM"
 *   4  checksum       u32  CRC-32 of bytes 8..64
 *   8  version        u16
 *  10  kind           u16  1: flush mark, 2: seal
 *  12  reserved       u32  zero
 *  16  salt           8 bytes of the file's header
 *  24  offset         u64  where in the file this note stands
 *  32  flushed before u64
 *  40  committed      u64  never above `flushed before`
 *  48  reserved       16 bytes, zero
 *
 * A flush mark says: before this was written, this node had fsynced everything up to `flushed before`. It stands
 * in front of every group of blocks, in the same write, and alone when the journal is idle. A seal says the same,
 * and that the next segment exists. A block header's own `flushedBefore` is not used for this: it speaks of the
 * node that encoded the block. Salt and offset keep bytes in users' values from ever being taken for a note.
 */

import { asBuffer } from '../codec/block.js'
import { crc32 } from '../codec/digest.js'
import { type Field, FieldReader, FieldWriter, hex, list, record, text, u64 } from '../codec/fields.js'
import type { EpochStart } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import type { Mismatch } from '../core/recovery.js'
import { UnderstudyError } from '../errors.js'
import type { JournalIdentity } from '../ports/journal.js'

export const segmentFormatVersion = 1
export const segmentSuffix = '.journal'
export const noteBytes = 64
const pageBytes = 4096
const headerMagic = 0x484a5355
const noteMagic = 0x4d4a5355
const headerFieldsAt = 32
const saltBytes = 8

export interface SegmentHeader {
  readonly identity: JournalIdentity
  /** Position before the first block. */
  readonly base: Position
  /** Committed sequence known when the segment was begun, at most that of `base`. */
  readonly committed: number
  /** Epochs that begin at or below `base`. */
  readonly epochs: readonly EpochStart[]
  readonly headerBytes: number
  readonly fileBytes: number
  /** 16 hexadecimal digits. */
  readonly salt: string
}

export type NoteKind = 'mark' | 'seal'

export interface Note {
  readonly kind: NoteKind
  readonly flushedBefore: number
  readonly committed: number
}

const kinds: Readonly<Record<NoteKind, number>> = { mark: 1, seal: 2 }

const epochField: Field<Epoch> = record({ number: u64, node: text(limits.nodeNameBytesMax) })
export const positionField: Field<Position> = record({ epoch: epochField, sequence: u64, chain: hex(16) })
const epochStartField: Field<EpochStart> = record({ epoch: epochField, firstSequence: u64 })
interface HeaderFields extends JournalIdentity {
  readonly base: Position
  readonly committed: number
  readonly epochs: readonly EpochStart[]
}
const headerFields: Field<HeaderFields> = record({
  cluster: text(limits.clusterNameBytesMax),
  shard: text(limits.shardNameBytesMax),
  historyId: hex(16),
  base: positionField,
  committed: u64,
  epochs: list(epochStartField, limits.epochHistoryMax),
})

/** Records begin at multiples of 8. */
export function alignRecord(offset: number): number {
  return Math.ceil(offset / 8) * 8
}

/** 20 digits, so that names sort as the segments follow each other. */
export function segmentName(firstSequence: number): string {
  return `${String(firstSequence).padStart(20, '0')}${segmentSuffix}`
}

/** First sequence that a name promises; undefined for names of other files. */
export function parseSegmentName(name: string): number | undefined {
  const match = /^(\d{20})\.journal$/.exec(name)
  const sequence = Number(match?.[1])
  return match !== null && Number.isSafeInteger(sequence) && sequence > 0 ? sequence : undefined
}

/** Encodes the header of a file of `fileBytesMin`, or more if `recordBytes` of records would not fit. */
export function encodeSegmentHeader(
  header: Omit<SegmentHeader, 'headerBytes' | 'fileBytes'>,
  fileBytesMin: number,
  recordBytes: number,
): { readonly bytes: Uint8Array; readonly header: SegmentHeader } {
  const writer = new FieldWriter()
  headerFields.write(writer, { ...header.identity, ...header })
  const fields = writer.finish()
  const headerBytes = Math.ceil((headerFieldsAt + fields.length) / pageBytes) * pageBytes
  const fileBytes = Math.max(fileBytesMin, headerBytes + recordBytes)
  const bytes = Buffer.alloc(headerBytes)
  bytes.writeUInt32LE(headerMagic, 0)
  bytes.writeUInt16LE(segmentFormatVersion, 8)
  bytes.writeUInt32LE(headerBytes, 12)
  writeU64(bytes, fileBytes, 16)
  bytes.write(header.salt, 24, saltBytes, 'hex')
  bytes.set(fields, headerFieldsAt)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return { bytes, header: { ...header, headerBytes, fileBytes } }
}

/** Most that a header can take: a full epoch history of longest names. */
export const segmentHeaderBytesMax = 64 * 1024

/** Decodes the header at the start of `bytes` (the first `segmentHeaderBytesMax` of a file, or all of it). */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | Mismatch {
  const view = asBuffer(bytes)
  if (view.length < pageBytes) return { expected: `a header of at least ${pageBytes} bytes`, found: `${view.length}` }
  const magic = view.readUInt32LE(0)
  if (magic !== headerMagic) return { expected: 'magic USJH', found: `0x${magic.toString(16)}` }
  const headerBytes = view.readUInt32LE(12)
  if (
    headerBytes % pageBytes !== 0 ||
    headerBytes === 0 ||
    headerBytes > Math.min(view.length, segmentHeaderBytesMax)
  ) {
    return { expected: `a header of whole pages up to ${segmentHeaderBytesMax} bytes`, found: `${headerBytes}` }
  }
  const checksum = crc32(view.subarray(8, headerBytes))
  const stored = view.readUInt32LE(4)
  if (checksum !== stored) return { expected: `header checksum ${stored}`, found: `${checksum}` }
  checkVersion('segment', view.readUInt16LE(8))
  const fields = headerFields.read(new FieldReader(view.subarray(headerFieldsAt, headerBytes), 'segment header'))
  return {
    identity: { cluster: fields.cluster, shard: fields.shard, historyId: fields.historyId },
    base: fields.base,
    committed: fields.committed,
    epochs: fields.epochs,
    headerBytes,
    fileBytes: readU64(view, 16),
    salt: view.toString('hex', 24, 24 + saltBytes),
  }
}

export function encodeNote(note: Note, salt: string, offset: number): Uint8Array {
  const bytes = Buffer.alloc(noteBytes)
  bytes.writeUInt32LE(noteMagic, 0)
  bytes.writeUInt16LE(segmentFormatVersion, 8)
  bytes.writeUInt16LE(kinds[note.kind], 10)
  bytes.write(salt, 16, saltBytes, 'hex')
  writeU64(bytes, offset, 24)
  writeU64(bytes, note.flushedBefore, 32)
  writeU64(bytes, note.committed, 40)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

export function hasNoteMagic(view: Buffer, at: number): boolean {
  return at + noteBytes <= view.length && view.readUInt32LE(at) === noteMagic
}

/** The note at `at` of the buffer, if it is one of this file and this place; `undefined` otherwise. */
export function decodeNote(view: Buffer, at: number, salt: string, offset: number): Note | undefined {
  if (!hasNoteMagic(view, at)) return undefined
  if (readU64(view, at + 24) !== offset || view.readUInt32LE(at + 4) !== crc32(view.subarray(at + 8, at + noteBytes)))
    return undefined
  if (view.toString('hex', at + 16, at + 16 + saltBytes) !== salt) return undefined
  checkVersion('flush mark', view.readUInt16LE(at + 8))
  const kind = view.readUInt16LE(at + 10) === kinds.seal ? 'seal' : 'mark'
  return { kind, flushedBefore: readU64(view, at + 32), committed: readU64(view, at + 40) }
}

function checkVersion(what: string, version: number): void {
  if (version === segmentFormatVersion) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `${what} format version ${version}; this release reads ${segmentFormatVersion}`,
    { hint: 'open the directory with the release that wrote it, or a newer one' },
  )
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % 0x1_0000_0000, at)
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

function readU64(view: Buffer, at: number): number {
  return view.readUInt32LE(at) + view.readUInt32LE(at + 4) * 0x1_0000_0000
}
