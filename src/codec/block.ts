/**
 * Block format, version 1. Little-endian. The same bytes lie on disk and travel on the wire.
 *
 *   0  magic            u32  "USBK"
 *   4  header checksum  u32  CRC-32 of bytes 8..128
 *   8  payload checksum u32  CRC-32 of the payload
 *  12  reserved         u32  zero
 *  16  chain before     16 bytes
 *  32  format version   u16
 *  34  flags            u16  bit 0: epoch start
 *  36  payload bytes    u32
 *  40  epoch number     u64
 *  48  first sequence   u64
 *  56  entry count      u32
 *  60  reserved         u32  zero
 *  64  timestamp        u64  milliseconds since 1970
 *  72  committed        u64
 *  80  flushed before   u64
 *  88  reserved         u64  zero
 *  96  epoch node       32 bytes, zero-padded
 * 128  payload
 *
 * chain after = first 16 bytes of SHA-256(bytes 16..end): chain before, header without the checksums, payload.
 *
 * Payload: u16 origin count, then per origin { u8 name bytes, name, u64 boot }; then per entry
 * { u32 bytes that follow, u16 origin index, u16 reserved, u64 request, u32 operation count } and its operations
 * (see operations.ts).
 */
import type { Block, BlockHeader, Entry, Operation, Origin } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Chain, Epoch } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import { asBuffer, utf8At } from './bytes.js'
import { chainHash, crc32 } from './digest.js'
import {
  decodeOperation,
  encodeOperation,
  operationBytes,
  operationHeaderBytes,
  type Reader,
  skip,
} from './operations.js'

export { asBuffer } from './bytes.js'
export { decodeOperations, encodeOperations } from './operations.js'

export const blockMagic = 0x4b425355
export const blockFormatVersion = 1
export const blockHeaderBytes = 128
const flagEpochStart = 1
const entryHeaderBytes = 20

export interface BlockDraft {
  readonly epoch: Epoch
  readonly firstSequence: number
  readonly timestampMs: number
  readonly committed: number
  readonly flushedBefore: number
  readonly chainBefore: Chain
  readonly epochStart: boolean
  readonly entries: readonly Entry[]
}

/** Bytes that an entry takes in a payload, its framing included. */
export function entryBytes(operations: readonly Operation[]): number {
  let total = entryHeaderBytes
  for (const operation of operations) total += operationBytes(operation)
  return total
}

function originKey(origin: Origin): string {
  return `${origin.boot}${origin.node}`
}

export function encodeBlock(draft: BlockDraft): Block {
  const origins: Origin[] = []
  const originIndexes = new Map<string, number>()
  let payloadBytes = 2
  let lastOrigin: Origin | undefined
  for (const entry of draft.entries) {
    payloadBytes += entryBytes(entry.operations)
    if (entry.origin === lastOrigin) continue
    lastOrigin = entry.origin
    const key = originKey(entry.origin)
    if (originIndexes.has(key)) continue
    originIndexes.set(key, origins.length)
    origins.push(entry.origin)
    payloadBytes += 9 + Buffer.byteLength(entry.origin.node)
  }
  invariant(draft.entries.length > 0, 'a block has at least one entry')
  invariant(draft.entries.length <= limits.blockEntriesMax, 'entries of a block are bounded')
  invariant(origins.length <= limits.blockOriginsMax, 'origins of a block are bounded')
  invariant(payloadBytes <= limits.blockPayloadBytesMax, 'a block is bounded')

  const bytes = Buffer.allocUnsafeSlow(blockHeaderBytes + payloadBytes)
  let at = blockHeaderBytes
  at = bytes.writeUInt16LE(origins.length, at)
  for (const origin of origins) {
    const length = bytes.write(origin.node, at + 1)
    bytes.writeUInt8(length, at)
    at += 1 + length
    const bootBytes = bytes.write(origin.boot, at, 'hex')
    invariant(length <= limits.nodeNameBytesMax && bootBytes === 8, 'an origin is a node name and 16 digits')
    at += bootBytes
  }
  lastOrigin = undefined
  let originIndex = 0
  for (const entry of draft.entries) {
    if (entry.origin !== lastOrigin) {
      lastOrigin = entry.origin
      originIndex = originIndexes.get(originKey(entry.origin)) ?? 0
    }
    const lengthAt = at
    at = bytes.writeUInt16LE(originIndex, at + 4)
    at = bytes.writeUInt16LE(0, at)
    at = writeU64(bytes, entry.request, at)
    at = bytes.writeUInt32LE(entry.operations.length, at)
    for (const operation of entry.operations) at = encodeOperation(bytes, operation, at)
    bytes.writeUInt32LE(at - lengthAt - 4, lengthAt)
  }
  invariant(at === bytes.length, 'an encoded block fills its buffer')
  return sealBlock(bytes, draft, payloadBytes)
}

function sealBlock(bytes: Buffer, draft: BlockDraft, payloadBytes: number): Block {
  bytes.fill(0, 0, blockHeaderBytes)
  bytes.writeUInt32LE(blockMagic, 0)
  invariant(bytes.write(draft.chainBefore, 16, 16, 'hex') === 16, 'a chain has 32 digits')
  bytes.writeUInt16LE(blockFormatVersion, 32)
  bytes.writeUInt16LE(draft.epochStart ? flagEpochStart : 0, 34)
  bytes.writeUInt32LE(payloadBytes, 36)
  writeU64(bytes, draft.epoch.number, 40)
  writeU64(bytes, draft.firstSequence, 48)
  bytes.writeUInt32LE(draft.entries.length, 56)
  writeU64(bytes, draft.timestampMs, 64)
  writeU64(bytes, draft.committed, 72)
  writeU64(bytes, draft.flushedBefore, 80)
  const nodeBytes = bytes.write(draft.epoch.node, 96)
  invariant(nodeBytes <= limits.nodeNameBytesMax, 'node names are bounded')
  bytes.writeUInt32LE(crc32(bytes.subarray(blockHeaderBytes)), 8)
  bytes.writeUInt32LE(crc32(bytes.subarray(8, blockHeaderBytes)), 4)
  const header: BlockHeader = {
    epoch: draft.epoch,
    firstSequence: draft.firstSequence,
    entryCount: draft.entries.length,
    payloadBytes,
    timestampMs: draft.timestampMs,
    committed: draft.committed,
    flushedBefore: draft.flushedBefore,
    chainBefore: draft.chainBefore,
    epochStart: draft.epochStart,
  }
  return blockOf(header, bytes)
}

function blockOf(header: BlockHeader, bytes: Uint8Array): Block {
  const sequence = header.firstSequence + header.entryCount - 1
  return { header, bytes, end: { epoch: header.epoch, sequence, chain: chainHash(bytes.subarray(16)) } }
}

function corrupt(expected: string, found: string | number): never {
  throw new UnderstudyError('CORRUPTION', `block: expected ${expected}, found ${found}`)
}

/** True if the bytes begin with an intact block header; nothing is thrown and nothing allocated. */
export function hasBlockHeader(bytes: Uint8Array): boolean {
  if (bytes.length < blockHeaderBytes) return false
  const view = asBuffer(bytes)
  return view.readUInt32LE(0) === blockMagic && view.readUInt32LE(4) === crc32(view.subarray(8, blockHeaderBytes))
}

/** Checks and decodes the header alone: what its lengths say may be trusted afterwards. Throws `CORRUPTION`. */
export function decodeBlockHeader(bytes: Uint8Array): BlockHeader {
  if (bytes.length < blockHeaderBytes) corrupt(`${blockHeaderBytes} header bytes`, bytes.length)
  const view = asBuffer(bytes)
  const magic = view.readUInt32LE(0)
  if (magic !== blockMagic) corrupt('magic USBK', `0x${magic.toString(16)}`)
  const checksum = crc32(view.subarray(8, blockHeaderBytes))
  if (checksum !== view.readUInt32LE(4)) corrupt(`header checksum ${view.readUInt32LE(4)}`, checksum)
  const version = view.readUInt16LE(32)
  if (version !== blockFormatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `block format version ${version}; this release reads ${blockFormatVersion}`,
    )
  }
  const flags = view.readUInt16LE(34)
  if ((flags & ~flagEpochStart) !== 0)
    throw new UnderstudyError('FORMAT_VERSION', `block flags 0x${flags.toString(16)}`)
  const payloadBytes = view.readUInt32LE(36)
  if (payloadBytes > limits.blockPayloadBytesMax)
    corrupt(`payload up to ${limits.blockPayloadBytesMax} bytes`, payloadBytes)
  const entryCount = view.readUInt32LE(56)
  if (entryCount === 0 || entryCount > limits.blockEntriesMax)
    corrupt(`1 to ${limits.blockEntriesMax} entries`, entryCount)
  const firstSequence = readU64(view, 48)
  if (firstSequence < 1) corrupt('first sequence from 1', firstSequence)
  if (!Number.isSafeInteger(firstSequence + entryCount)) corrupt('sequences that are safe integers', firstSequence)
  const committed = readU64(view, 72)
  const flushedBefore = readU64(view, 80)
  if (committed >= firstSequence) corrupt('committed below the block', committed)
  if (flushedBefore >= firstSequence) corrupt('flush mark below the block', flushedBefore)
  return {
    epoch: { number: readU64(view, 40), node: readPaddedName(view, 96) },
    firstSequence,
    entryCount,
    payloadBytes,
    timestampMs: readU64(view, 64),
    committed,
    flushedBefore,
    chainBefore: view.toString('hex', 16, 32),
    epochStart: (flags & flagEpochStart) !== 0,
  }
}

/**
 * Checks a whole block, once: header, payload checksum and structure of the entries, and computes its chain.
 * `bytes` must be the block exactly. Throws `CORRUPTION`.
 */
export function decodeBlock(bytes: Uint8Array): Block {
  const header = decodeBlockHeader(bytes)
  if (bytes.length !== blockHeaderBytes + header.payloadBytes) {
    corrupt(`${blockHeaderBytes + header.payloadBytes} bytes`, bytes.length)
  }
  const view = asBuffer(bytes)
  const checksum = crc32(view.subarray(blockHeaderBytes))
  if (checksum !== view.readUInt32LE(8)) corrupt(`payload checksum ${view.readUInt32LE(8)}`, checksum)
  return blockOf(header, bytes)
}

/**
 * Entries of a block whose checksums have been verified. Keys and values are views into the block's bytes. Throws
 * `CORRUPTION` where lengths do not add up (a payload with a right checksum and wrong content: a bug elsewhere).
 */
export function decodeEntries(block: Block): Entry[] {
  const view = asBuffer(block.bytes)
  const reader: Reader = { view, at: blockHeaderBytes, failure: 'CORRUPTION', what: 'block' }
  const originCount = view.readUInt16LE(skip(reader, 2))
  if (originCount > limits.blockOriginsMax) corrupt(`up to ${limits.blockOriginsMax} origins`, originCount)
  const origins: Origin[] = []
  for (let index = 0; index < originCount; index++) {
    const node = nextName(reader) ?? corrupt('a node name in UTF-8', 'other bytes')
    origins.push({ node, boot: nextBoot(reader) })
  }
  const entries: Entry[] = []
  for (let index = 0; index < block.header.entryCount; index++) {
    const length = view.readUInt32LE(skip(reader, 4))
    const entryEnd = reader.at + length
    const head = skip(reader, entryHeaderBytes - 4)
    const origin = origins[view.readUInt16LE(head)]
    if (origin === undefined) corrupt('a known origin', view.readUInt16LE(head))
    const operationCount = view.readUInt32LE(head + 12)
    if (operationCount * operationHeaderBytes > length || operationCount > limits.batchOperationsMax) {
      corrupt('operations that fit', operationCount)
    }
    const operations: Operation[] = []
    for (let count = 0; count < operationCount; count++) operations.push(decodeOperation(reader))
    if (reader.at !== entryEnd) corrupt(`entry end at ${entryEnd}`, reader.at)
    entries.push({ origin, request: readU64(view, head + 4), operations })
  }
  if (reader.at !== view.length) corrupt(`payload end at ${view.length}`, reader.at)
  return entries
}

/**
 * Request numbers of the entries of one origin, in order. Of a block that holds none only the origins are read, of
 * the others the heads of the entries: operations are skipped. The block's checksums have been verified.
 */
export function requestsOf(block: Block, origin: Origin): number[] {
  const view = asBuffer(block.bytes)
  const reader: Reader = { view, at: blockHeaderBytes, failure: 'CORRUPTION', what: 'block' }
  const originCount = view.readUInt16LE(skip(reader, 2))
  let wanted = -1
  for (let index = 0; index < originCount; index++) {
    const node = nextName(reader)
    const boot = nextBoot(reader)
    if (node === origin.node && boot === origin.boot) wanted = index
  }
  const requests: number[] = []
  if (wanted < 0) return requests
  for (let index = 0; index < block.header.entryCount; index++) {
    const entry = skip(reader, view.readUInt32LE(skip(reader, 4)))
    if (view.readUInt16LE(entry) === wanted) requests.push(readU64(view, entry + 4))
  }
  return requests
}

/** Undefined if it is not UTF-8. */
function nextName(reader: Reader): string | undefined {
  const count = reader.view.readUInt8(skip(reader, 1))
  const at = skip(reader, count)
  return utf8At(reader.view, at, at + count)
}

function nextBoot(reader: Reader): string {
  const at = skip(reader, 8)
  return reader.view.toString('hex', at, at + 8)
}

function writeU64(bytes: Buffer, value: number, at: number): number {
  invariant(Number.isSafeInteger(value) && value >= 0, 'numbers of 64 bits are safe integers from 0')
  bytes.writeUInt32LE(value % 0x1_0000_0000, at)
  return bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

/** A u64 that must be a safe integer: a sequence beyond 2^53 is damage, not data. */
function readU64(view: Buffer, at: number): number {
  const value = view.readUInt32LE(at) + view.readUInt32LE(at + 4) * 0x1_0000_0000
  if (!Number.isSafeInteger(value)) corrupt('a safe integer', value)
  return value
}

function readPaddedName(view: Buffer, at: number): string {
  const stop = at + limits.nodeNameBytesMax
  let end = at
  while (end < stop && view[end] !== 0) end += 1
  return utf8At(view, at, end) ?? corrupt('a node name in UTF-8', 'other bytes')
}
