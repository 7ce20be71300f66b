/**
 * Keys in the LevelDB store. Every key begins with a tag byte, so that bookkeeping and data never meet:
 *
 *   00 n                    bookkeeping, see `metaKeys`
 *   00 06 family u32 BE     a dropped family whose keys are still to be purged
 *   01 family u32 BE key    data; families lie one after another, by id
 *
 * Nothing lies above `aboveAll`.
 */
import type { KeyRange } from '../ports/engine.js'

const tagMeta = 0
const tagData = 1
export const prefixBytes = 5
const familyMax = 0xffff_ffff

export const metaKeys = Object.freeze({
  format: Buffer.from([tagMeta, 0]),
  /** Position of the last batch. */
  applied: Buffer.from([tagMeta, 1]),
  checkpoint: Buffer.from([tagMeta, 2]),
  /** Only while a journal is replayed: the highest position that any batch had named before. */
  reached: Buffer.from([tagMeta, 3]),
  families: Buffer.from([tagMeta, 4]),
  ingestProgress: Buffer.from([tagMeta, 5]),
})

const purgePrefix = Buffer.from([tagMeta, 6])
export const purgeKeysStart = Buffer.from([tagMeta, 6])
export const purgeKeysEnd = Buffer.from([tagMeta, 7])
export const aboveAll = Buffer.from([0xff])
export const dataStart = Buffer.from([tagData])
export const dataEnd = Buffer.from([tagData + 1])

export function purgeKey(family: number): Buffer {
  const key = Buffer.alloc(purgePrefix.length + 4)
  purgePrefix.copy(key)
  key.writeUInt32BE(family, purgePrefix.length)
  return key
}

export function familyOfPurgeKey(key: Uint8Array): number {
  return Buffer.from(key).readUInt32BE(purgePrefix.length)
}

export function dataKey(family: number, key: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + key.length)
  bytes[0] = tagData
  bytes.writeUInt32BE(family, 1)
  bytes.set(key, prefixBytes)
  return bytes
}

/** The first key after a family's last. */
export function familyEnd(family: number): Buffer {
  return family === familyMax ? dataEnd : dataKey(family + 1, new Uint8Array(0))
}

export interface LevelRange {
  gte?: Buffer
  gt?: Buffer
  lt?: Buffer
  lte?: Buffer
}

/** A range within a family, as LevelDB takes it; without bounds the whole family. */
export function levelRange(family: number, range: KeyRange): LevelRange {
  const result: LevelRange = {}
  if (range.start !== undefined && range.startOpen === true) result.gt = dataKey(family, range.start)
  else result.gte = dataKey(family, range.start ?? new Uint8Array(0))
  if (range.end === undefined) result.lt = familyEnd(family)
  else if (range.endClosed === true) result.lte = dataKey(family, range.end)
  else result.lt = dataKey(family, range.end)
  return result
}
