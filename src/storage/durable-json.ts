import { crc32 } from '../codec/digest.js'
import { UnderstudyError } from '../errors.js'
import type { FileSystem } from '../ports/file-system.js'

const bytesMax = 4 * 1024 * 1024

/**
 * Writes a small JSON file so that after a crash the old or the new content is there, whole: a temporary file,
 * fsync, rename, fsync of the directory. Its first line is the CRC-32 of the rest.
 */
export async function writeDurableJson(
  files: FileSystem,
  directory: string,
  name: string,
  value: unknown,
): Promise<void> {
  const body = Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
  const temporary = files.join(directory, `${name}.tmp`)
  if ((await files.stat(temporary)) !== undefined) await files.remove(temporary)
  const file = await files.open(temporary, 'create')
  try {
    await file.write([Buffer.from(`${crc32(body).toString(16).padStart(8, '0')}\n`), body], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await files.rename(temporary, files.join(directory, name))
  await files.syncDirectory(directory)
}

/**
 * Undefined if the file does not exist; damage is `CORRUPTION`, never taken for absence. What is returned survives a
 * loss of power: a process that ended between rename and sync has left a name that only the cache knows (S3).
 */
export async function readDurableJson(files: FileSystem, directory: string, name: string): Promise<unknown> {
  const path = files.join(directory, name)
  if ((await files.stat(path)) === undefined) return undefined
  await files.syncDirectory(directory)
  const bytes = Buffer.from(await files.readFile(path, bytesMax))
  const body = bytes.subarray(9)
  const expected = bytes.toString('latin1', 0, 8)
  const found = crc32(body).toString(16).padStart(8, '0')
  if (bytes.length < 10 || expected !== found) {
    throw new UnderstudyError('CORRUPTION', `${path}: expected checksum ${expected}, found ${found}`, {
      hint: 'restore the file, or rebuild this node from another with `understudy bootstrap --replace`',
    })
  }
  try {
    return JSON.parse(body.toString())
  } catch (error) {
    throw new UnderstudyError('CORRUPTION', `${path}: not JSON`, { cause: error })
  }
}
