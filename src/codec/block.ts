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
 * { u32 bytes that follow, u16 origin index, u16 reserved, u64 request, u32 operation count } and per operation
 * { u8 kind, u32 family, u32 key bytes, u32 value bytes, key, value }. delRange: key = start, value = end.
 * createFamily: key = name.
 */
import type { Block, BlockHeader, Entry, Operation, Origin } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Chain, Epoch } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import { chainHash, crc32 } from './digest.js'

export const blockMagic = 0x4b425355
export const blockFormatVersion = 1
export const blockHeaderBytes = 128
const flagEpochStart = 1
const entryHeaderBytes = 20
const operationHeaderBytes = 13

const kinds = { put: 1, del: 2, delRange: 3, createFamily: 4, dropFamily: 5 } as const
const noBytes = new Uint8Array(0)

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

function operationBytes(operation: Operation): number {
  switch (operation.type) {
    case 'put':
      return operationHeaderBytes + operation.key.length + operation.value.length
    case 'del':
      return operationHeaderBytes + operation.key.length
    case 'delRange':
      return operationHeaderBytes + operation.start.length + operation.end.length
    case 'createFamily':
      return operationHeaderBytes + Buffer.byteLength(operation.name)
    case 'dropFamily':
      return operationHeaderBytes
  }
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
  invariant(origins.length <= limits.blockOriginsMax, 'origins of a block are bounded')
  invariant(payloadBytes <= limits.blockPayloadBytesMax, 'a block is bounded')

  const bytes = Buffer.allocUnsafeSlow(blockHeaderBytes + payloadBytes)
  let at = blockHeaderBytes
  at = bytes.writeUInt16LE(origins.length, at)
  for (const origin of origins) {
    const length = bytes.write(origin.node, at + 1)
    bytes.writeUInt8(length, at)
    at += 1 + length
    at += bytes.write(origin.boot, at, 'hex')
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
  bytes.write(draft.chainBefore, 16, 'hex')
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

function encodeOperation(bytes: Buffer, operation: Operation, at: number): number {
  let first: Uint8Array = noBytes
  let second: Uint8Array = noBytes
  switch (operation.type) {
    case 'put':
      first = operation.key
      second = operation.value
      break
    case 'del':
      first = operation.key
      break
    case 'delRange':
      first = operation.start
      second = operation.end
      break
    case 'createFamily':
      first = Buffer.from(operation.name)
      break
    case 'dropFamily':
      break
  }
  bytes[at] = kinds[operation.type]
  bytes.writeUInt32LE(operation.family, at + 1)
  bytes.writeUInt32LE(first.length, at + 5)
  bytes.writeUInt32LE(second.length, at + 9)
  bytes.set(first, at + operationHeaderBytes)
  bytes.set(second, at + operationHeaderBytes + first.length)
  return at + operationHeaderBytes + first.length + second.length
}

/** Operations alone, in the encoding that entries use: what a forwarded write carries. */
export function encodeOperations(operations: readonly Operation[]): Uint8Array {
  let total = 0
  for (const operation of operations) total += operationBytes(operation)
  const bytes = Buffer.allocUnsafeSlow(total)
  let at = 0
  for (const operation of operations) at = encodeOperation(bytes, operation, at)
  return bytes
}

/** The inverse of `encodeOperations`; throws `CORRUPTION` where lengths do not add up. */
export function decodeOperations(bytes: Uint8Array): Operation[] {
  const reader = { view: asBuffer(bytes), at: 0 }
  const operations: Operation[] = []
  while (reader.at < reader.view.length) operations.push(decodeOperation(reader))
  return operations
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
  const payloadBytes = view.readUInt32LE(36)
  if (payloadBytes > limits.blockPayloadBytesMax)
    corrupt(`payload up to ${limits.blockPayloadBytesMax} bytes`, payloadBytes)
  const entryCount = view.readUInt32LE(56)
  if (entryCount === 0 || entryCount > limits.blockEntriesMax)
    corrupt(`1 to ${limits.blockEntriesMax} entries`, entryCount)
  const firstSequence = readU64(view, 48)
  if (firstSequence < 1) corrupt('first sequence from 1', firstSequence)
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
    epochStart: (view.readUInt16LE(34) & flagEpochStart) !== 0,
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
  const reader = { view, at: blockHeaderBytes }
  const originCount = take(reader, 2).readUInt16LE(0)
  if (originCount > limits.blockOriginsMax) corrupt(`up to ${limits.blockOriginsMax} origins`, originCount)
  const origins: Origin[] = []
  for (let index = 0; index < originCount; index++) {
    const node = take(reader, take(reader, 1).readUInt8(0)).toString()
    origins.push({ node, boot: take(reader, 8).toString('hex') })
  }
  const entries: Entry[] = []
  for (let index = 0; index < block.header.entryCount; index++) {
    const length = take(reader, 4).readUInt32LE(0)
    const entryEnd = reader.at + length
    const head = take(reader, entryHeaderBytes - 4)
    const origin = origins[head.readUInt16LE(0)]
    if (origin === undefined) corrupt('a known origin', head.readUInt16LE(0))
    const operationCount = head.readUInt32LE(12)
    if (operationCount * operationHeaderBytes > length) corrupt('operations that fit', operationCount)
    const operations: Operation[] = []
    for (let count = 0; count < operationCount; count++) operations.push(decodeOperation(reader))
    if (reader.at !== entryEnd) corrupt(`entry end at ${entryEnd}`, reader.at)
    entries.push({ origin, request: readU64(head, 4), operations })
  }
  if (reader.at !== view.length) corrupt(`payload end at ${view.length}`, reader.at)
  return entries
}

interface Reader {
  readonly view: Buffer
  at: number
}

function take(reader: Reader, count: number): Buffer {
  const end = reader.at + count
  if (end > reader.view.length) corrupt(`${count} bytes at ${reader.at}`, reader.view.length - reader.at)
  const part = reader.view.subarray(reader.at, end)
  reader.at = end
  return part
}

function decodeOperation(reader: Reader): Operation {
  const { view, at } = reader
  if (at + operationHeaderBytes > view.length) corrupt('an operation header', view.length - at)
  const kind = view[at]
  const family = view.readUInt32LE(at + 1)
  const firstBytes = view.readUInt32LE(at + 5)
  const secondBytes = view.readUInt32LE(at + 9)
  reader.at = at + operationHeaderBytes
  const first = take(reader, firstBytes)
  const second = take(reader, secondBytes)
  switch (kind) {
    case kinds.put:
      return { type: 'put', family, key: first, value: second }
    case kinds.del:
      return { type: 'del', family, key: first }
    case kinds.delRange:
      return { type: 'delRange', family, start: first, end: second }
    case kinds.createFamily:
      return { type: 'createFamily', family, name: first.toString() }
    case kinds.dropFamily:
      return { type: 'dropFamily', family }
    default:
      return corrupt('operation kind 1 to 5', String(kind))
  }
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function writeU64(bytes: Buffer, value: number, at: number): number {
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
  const field = view.subarray(at, at + limits.nodeNameBytesMax)
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end < 0 ? field.length : end)
}
