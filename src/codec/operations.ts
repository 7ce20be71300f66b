/**
 * Operations, as entries hold them and as a forwarded write carries them: { u8 kind, u32 family, u32 key bytes,
 * u32 value bytes, key, value }, little-endian. delRange: key = start, value = end. createFamily: key = name.
 */
import type { Operation } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { asBuffer, decodeUtf8 } from './bytes.js'

export const operationHeaderBytes = 13
const kinds = { put: 1, del: 2, delRange: 3, createFamily: 4, dropFamily: 5 } as const
const noBytes = new Uint8Array(0)

export function operationBytes(operation: Operation): number {
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

export function encodeOperation(bytes: Buffer, operation: Operation, at: number): number {
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
  invariant(first.length <= firstBytesMax(kinds[operation.type]), 'keys and names are bounded')
  invariant(second.length <= secondBytesMax(kinds[operation.type]), 'values are bounded')
  bytes[at] = kinds[operation.type]
  bytes.writeUInt32LE(operation.family, at + 1)
  bytes.writeUInt32LE(first.length, at + 5)
  bytes.writeUInt32LE(second.length, at + 9)
  bytes.set(first, at + operationHeaderBytes)
  bytes.set(second, at + operationHeaderBytes + first.length)
  return at + operationHeaderBytes + first.length + second.length
}

function firstBytesMax(kind: number | undefined): number {
  if (kind === kinds.createFamily) return limits.familyNameBytesMax
  return kind === kinds.dropFamily ? 0 : limits.keyBytesMax
}

function secondBytesMax(kind: number | undefined): number {
  if (kind === kinds.put) return limits.valueBytesMax
  return kind === kinds.delRange ? limits.keyBytesMax : 0
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

/** The inverse of `encodeOperations`; throws `PROTOCOL` where lengths do not add up or pass the limits. */
export function decodeOperations(bytes: Uint8Array): Operation[] {
  const reader: Reader = { view: asBuffer(bytes), at: 0, failure: 'PROTOCOL', what: 'operations' }
  const operations: Operation[] = []
  while (reader.at < reader.view.length) {
    if (operations.length >= limits.batchOperationsMax) refuse(reader, `up to ${limits.batchOperationsMax}`, 'more')
    operations.push(decodeOperation(reader))
  }
  return operations
}

/** Where decoding has got to, and as what a contradiction counts. */
export interface Reader {
  readonly view: Buffer
  at: number
  readonly failure: 'CORRUPTION' | 'PROTOCOL'
  readonly what: string
}

function refuse(reader: Reader, expected: string, found: string | number): never {
  throw new UnderstudyError(reader.failure, `${reader.what}: expected ${expected}, found ${found}`)
}

/** Where the next `count` bytes begin; beyond them from now on. */
export function skip(reader: Reader, count: number): number {
  const { at } = reader
  if (at + count > reader.view.length) refuse(reader, `${count} bytes at ${at}`, reader.view.length - at)
  reader.at = at + count
  return at
}

function take(reader: Reader, count: number): Buffer {
  const at = skip(reader, count)
  return reader.view.subarray(at, at + count)
}

export function decodeOperation(reader: Reader): Operation {
  const { view, at } = reader
  if (at + operationHeaderBytes > view.length) refuse(reader, 'an operation header', view.length - at)
  const kind = view[at]
  const family = view.readUInt32LE(at + 1)
  const firstBytes = view.readUInt32LE(at + 5)
  const secondBytes = view.readUInt32LE(at + 9)
  reader.at = at + operationHeaderBytes
  if (firstBytes > firstBytesMax(kind)) refuse(reader, `a key of at most ${firstBytesMax(kind)} bytes`, firstBytes)
  if (secondBytes > secondBytesMax(kind))
    refuse(reader, `a value of at most ${secondBytesMax(kind)} bytes`, secondBytes)
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
      return { type: 'createFamily', family, name: decodeUtf8(first) ?? refuse(reader, 'a name in UTF-8', at) }
    case kinds.dropFamily:
      return { type: 'dropFamily', family }
    default:
      return refuse(reader, 'operation kind 1 to 5', String(kind))
  }
}
