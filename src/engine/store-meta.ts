/** Bookkeeping values of the engines that keep theirs on disk. */
import { type Field, FieldReader, FieldWriter, hex, list, record, text, u32, u64 } from '../codec/fields.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { isFailure, UnderstudyError } from '../errors.js'
import { FamilyTable } from './family-table.js'

export const storeFormatVersion = 1

const epoch: Field<Epoch> = record({ number: u64, node: text(limits.nodeNameBytesMax) })
const positionField: Field<Position> = record({ epoch, sequence: u64, chain: hex(16) })
const family: Field<Family> = record({ id: u32, name: text(limits.familyNameBytesMax) })
const tableField = record({ idNext: u64, families: list(family, limits.familiesMax) })

function encode<T>(field: Field<T>, value: T): Buffer {
  const writer = new FieldWriter()
  field.write(writer, value)
  return Buffer.from(writer.finish())
}

function decode<T>(field: Field<T>, bytes: Uint8Array, what: string, directory: string): T {
  const reader = new FieldReader(bytes, what)
  try {
    const value = field.read(reader)
    if (reader.remaining > 0) reader.fail('the end')
    return value
  } catch (error) {
    if (!isFailure(error, 'PROTOCOL')) throw error
    throw new UnderstudyError('CORRUPTION', `engine in ${directory}: ${error.message}`, { cause: error })
  }
}

export function encodePosition(position: Position): Buffer {
  return encode(positionField, position)
}

export function decodePosition(bytes: Uint8Array, what: string, directory: string): Position {
  return decode(positionField, bytes, `${what} position`, directory)
}

export function encodeFamilyTable(table: FamilyTable): Buffer {
  return encode(tableField, { idNext: table.idNext, families: table.families })
}

export function decodeFamilyTable(bytes: Uint8Array, directory: string): FamilyTable {
  const { idNext, families } = decode(tableField, bytes, 'family table', directory)
  return new FamilyTable(families, idNext)
}

export function encodeFormat(): Buffer {
  return encode(u32, storeFormatVersion)
}

export function checkFormat(bytes: Uint8Array, directory: string): void {
  const version = decode(u32, bytes, 'format version', directory)
  if (version === storeFormatVersion) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `engine in ${directory} has format version ${version}; this release reads ${storeFormatVersion}`,
    { hint: 'open it with the release that wrote it, or bootstrap this node anew' },
  )
}
