/**
 * A cut takes many writes, and after a crash in the middle of them the rest of the journal would look damaged. So
 * what is to be cut is written down first, durably; whoever opens the directory finishes it.
 */
import { asBuffer } from '../codec/block.js'
import { crc32 } from '../codec/digest.js'
import { type Field, FieldReader, FieldWriter, record, u64 } from '../codec/fields.js'
import type { Position } from '../core/position.js'
import type { FileSystem } from '../ports/file-system.js'
import { corruptionAt } from './segment.js'
import { parseSegmentName, positionField } from './segment-format.js'

export const truncationName = 'truncation'
const temporaryName = 'truncation.tmp'
const truncationBytesMax = 1024

export interface Truncation {
  readonly to: Position
  /** Committed sequence that the flush mark after the cut says: those that said it may be cut. */
  readonly committed: number
}

const truncationField: Field<Truncation> = record({ to: positionField, committed: u64 })

export async function writeTruncation(fs: FileSystem, directory: string, truncation: Truncation): Promise<void> {
  const writer = new FieldWriter()
  truncationField.write(writer, truncation)
  const fields = writer.finish()
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32LE(crc32(fields))
  const temporary = fs.join(directory, temporaryName)
  const file = await fs.open(temporary, 'create')
  try {
    await file.write([checksum, fields], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await fs.rename(temporary, fs.join(directory, truncationName))
  await fs.syncDirectory(directory)
}

/** Where a cut that was begun is to end. */
export async function readTruncation(fs: FileSystem, directory: string): Promise<Truncation> {
  const path = fs.join(directory, truncationName)
  const bytes = asBuffer(await fs.readFile(path, truncationBytesMax))
  const fields = bytes.subarray(4)
  if (bytes.length < 4 || bytes.readUInt32LE(0) !== crc32(fields)) {
    throw corruptionAt(path, 0, { expected: 'a checksum that fits', found: `${bytes.length} other bytes` })
  }
  return truncationField.read(new FieldReader(fields, truncationName))
}

/** Only when everything cut is gone for good, and before anything is appended. */
export async function finishTruncation(fs: FileSystem, directory: string): Promise<void> {
  await fs.remove(fs.join(directory, truncationName))
  await fs.syncDirectory(directory)
}

/** Removes the segments that begin after `to`, newest first; returns their names. */
export async function removeSegmentsAfter(fs: FileSystem, directory: string, to: Position): Promise<string[]> {
  const later = (await fs.list(directory)).filter((name) => (parseSegmentName(name) ?? 0) > to.sequence + 1).reverse()
  for (const name of later) await fs.remove(fs.join(directory, name))
  if (later.length > 0) await fs.syncDirectory(directory)
  return later
}
