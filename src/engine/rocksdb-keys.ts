/**
 * Bookkeeping of the RocksDB store, in the column family "default". Families of the shard are column families of
 * their own, named by their ids: "0", "1", ...
 *
 *   00                   format version
 *   01                   position of the last batch
 *   03                   highest position that any batch named; only while a journal is replayed from before it
 *   04 family u32 BE     name of a family
 *   05                   progress of an ingestion
 *   06                   next family id, u64 LE
 */
import { defaultFamily, type Family } from '../core/entry.js'
import { UnderstudyError } from '../errors.js'
import { FamilyTable } from './family-table.js'

const familyTag = 4

export const bookkeeping = Object.freeze({
  format: Buffer.from([0]),
  applied: Buffer.from([1]),
  reached: Buffer.from([3]),
  familyPrefix: Buffer.from([familyTag]),
  ingestProgress: Buffer.from([5]),
  idNext: Buffer.from([6]),
})

/** All of it, as it was read in one moment. */
export class Bookkeeping {
  readonly table: FamilyTable
  readonly isEmpty: boolean
  private readonly values = new Map<string, Uint8Array>()

  /** `meta` is flat: key, value, key, value, ... */
  constructor(meta: readonly Buffer[], directory: string) {
    const families: Family[] = []
    for (let at = 0; at + 1 < meta.length; at += 2) {
      const key = meta[at]!
      const value = meta[at + 1]!
      if (key.length === 5 && key[0] === familyTag) families.push({ id: key.readUInt32BE(1), name: String(value) })
      else this.values.set(key.toString('latin1'), value)
    }
    this.isEmpty = meta.length === 0
    const idNext = this.get(bookkeeping.idNext)
    if (idNext !== undefined && idNext.length !== 8) {
      throw new UnderstudyError('CORRUPTION', `engine in ${directory}: the next family id has ${idNext.length} bytes`)
    }
    this.table = new FamilyTable(families, idNext === undefined ? 1 : Number(Buffer.from(idNext).readBigUInt64LE(0)))
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.values.get(Buffer.from(key).toString('latin1'))
  }

  /** Every store lists the family that always exists. */
  get isWhole(): boolean {
    return this.table.has(defaultFamily.id)
  }
}
