/**
 * A packed run of entries of one family: per entry u32 key bytes, u32 value bytes, key, value (little-endian).
 * What a snapshot sends, what an engine ingests.
 */
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { asBuffer } from './bytes.js'

const frameBytes = 8

export function packedEntryBytes(key: Uint8Array, value: Uint8Array): number {
  return frameBytes + key.length + value.length
}

export function encodeChunk(entries: ReadonlyArray<readonly [Uint8Array, Uint8Array]>): Uint8Array {
  let total = 0
  for (const [key, value] of entries) total += packedEntryBytes(key, value)
  const bytes = Buffer.allocUnsafeSlow(total)
  let at = 0
  for (const [key, value] of entries) {
    bytes.writeUInt32LE(key.length, at)
    bytes.writeUInt32LE(value.length, at + 4)
    bytes.set(key, at + frameBytes)
    bytes.set(value, at + frameBytes + key.length)
    at += frameBytes + key.length + value.length
  }
  return bytes
}

/** Views into `bytes`. Throws `PROTOCOL` where lengths do not add up or pass the limits of keys and values. */
export function* decodeChunk(bytes: Uint8Array): Generator<[Uint8Array, Uint8Array]> {
  const view = asBuffer(bytes)
  let at = 0
  while (at < view.length) {
    if (at + frameBytes > view.length) throw new UnderstudyError('PROTOCOL', `chunk: entry cut off at byte ${at}`)
    const keyBytes = view.readUInt32LE(at)
    const valueBytes = view.readUInt32LE(at + 4)
    const end = at + frameBytes + keyBytes + valueBytes
    if (keyBytes > limits.keyBytesMax || valueBytes > limits.valueBytesMax || end > view.length) {
      throw new UnderstudyError(
        'PROTOCOL',
        `chunk: entry at byte ${at} of ${keyBytes} + ${valueBytes} bytes does not fit`,
      )
    }
    yield [view.subarray(at + frameBytes, at + frameBytes + keyBytes), view.subarray(at + frameBytes + keyBytes, end)]
    at = end
  }
}
