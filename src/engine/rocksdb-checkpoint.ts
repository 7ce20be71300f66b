import { UnderstudyError } from '../errors.js'
import type { EngineFiles, FileCheckpoint, StoredFile } from '../ports/engine.js'
import { checksumFile, describeFiles } from './rocksdb-addon.js'
import { damageHint, rocksdbError } from './rocksdb-errors.js'
import { Bookkeeping, bookkeeping } from './rocksdb-keys.js'
import { checkFormat, decodePosition } from './store-meta.js'

/** Another number: what one node makes of the files another one does not understand. */
const filesFormat = 'rocksdb-1'

export const rocksdbFiles: EngineFiles = Object.freeze({
  format: filesFormat,
  async checksum(path: string) {
    try {
      return await checksumFile(path)
    } catch (error) {
      throw rocksdbError(error, 'verifying', path)
    }
  },
})

/** What a checkpoint holds, read from inside of it: its position can be no other than that of its files. */
export async function describeCheckpoint(directory: string): Promise<FileCheckpoint> {
  const { meta, files } = await describeFiles(directory).catch((error) => {
    throw rocksdbError(error, 'reading a checkpoint', directory)
  })
  const found = new Bookkeeping(meta, directory)
  const format = found.get(bookkeeping.format)
  const applied = found.get(bookkeeping.applied)
  if (applied === undefined) throw new UnderstudyError('NOT_READY', `${directory}: nothing was applied yet`)
  if (format === undefined || !found.isWhole || found.get(bookkeeping.ingestProgress) !== undefined) {
    throw new UnderstudyError('CORRUPTION', `checkpoint in ${directory}: the bookkeeping is not whole`, {
      hint: damageHint,
    })
  }
  checkFormat(format, directory)
  return {
    position: decodePosition(applied, 'applied', directory),
    families: found.table.families,
    familyIdNext: found.table.idNext,
    files: storedFiles(files),
  }
}

function storedFiles(flat: ReadonlyArray<string | number>): StoredFile[] {
  const files: StoredFile[] = []
  for (let at = 0; at + 2 < flat.length; at += 3) {
    files.push({ name: String(flat[at]), bytes: Number(flat[at + 1]), checksum: Number(flat[at + 2]) })
  }
  return files
}
