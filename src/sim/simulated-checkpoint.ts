/** A checkpoint of a simulated engine as files on its simulated disk: pieces of families, and one that lists them. */
import { crc32 } from '../codec/digest.js'
import type { Family } from '../core/entry.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Engine, EngineFiles, FileCheckpoint, StoredFile } from '../ports/engine.js'
import type { FileSystem } from '../ports/file-system.js'

const manifestName = 'MANIFEST'
const fileBytesMax = 64 * 1024 * 1024

interface Manifest {
  readonly position: Position
  readonly families: readonly Family[]
  readonly familyIdNext: number
  readonly pieces: ReadonlyArray<StoredFile & { readonly family: Family }>
}

export function checkpointFilesOf(files: FileSystem): EngineFiles {
  return {
    format: 'simulated-1',
    checksum: async (path) => {
      const bytes = await files.readFile(path, fileBytesMax)
      return { bytes: bytes.length, checksum: crc32(bytes) }
    },
  }
}

/** `engine` is read at one moment; its content goes into files of about so many bytes each. */
export async function writeCheckpoint(
  engine: Engine,
  files: FileSystem,
  directory: string,
  pieceBytes: number,
): Promise<FileCheckpoint> {
  const snapshot = engine.snapshot()
  const { position, families, familyIdNext } = snapshot
  const written: StoredFile[] = []
  const write = async (name: string, bytes: Uint8Array): Promise<StoredFile> => {
    const file = await files.open(files.join(directory, name), 'create')
    await file.write([bytes], 0)
    await file.sync()
    await file.close()
    const stored = { name, bytes: bytes.length, checksum: crc32(bytes) }
    written.push(stored)
    return stored
  }
  try {
    await files.makeDirectory(directory)
    const pieces: Array<StoredFile & { readonly family: Family }> = []
    for (const family of families) {
      for (let start: Uint8Array | undefined = new Uint8Array(0); start !== undefined; ) {
        const chunk = await engine.readChunk(snapshot, family.id, start, pieceBytes)
        pieces.push({ ...(await write(`piece-${pieces.length}`, chunk.bytes)), family })
        start = chunk.nextKey
      }
    }
    const manifest: Manifest = { position, families, familyIdNext, pieces }
    await write(manifestName, Buffer.from(JSON.stringify(manifest)))
    await files.syncDirectory(directory)
  } finally {
    await snapshot.close()
  }
  return { position, families, familyIdNext, files: written }
}

/** What brings an empty engine to what the files of a checkpoint in `directory` say; undefined if there are none. */
export async function readCheckpoint(
  files: FileSystem,
  directory: string,
): Promise<{ readonly position: Position; readonly install: (engine: Engine) => Promise<void> } | undefined> {
  const path = files.join(directory, manifestName)
  if ((await files.stat(path)) === undefined) return undefined
  const manifest = parse(await files.readFile(path, fileBytesMax), path)
  const pieces: Array<{ readonly family: Family; readonly bytes: Uint8Array }> = []
  for (const { name, checksum, family } of manifest.pieces) {
    const bytes = await files.readFile(files.join(directory, name), fileBytesMax)
    if (crc32(bytes) !== checksum) throw new UnderstudyError('CORRUPTION', `${name} in ${directory} is damaged`)
    pieces.push({ family, bytes })
  }
  const { position, families, familyIdNext } = manifest
  return {
    position,
    install: async (engine) => {
      for (const { family, bytes } of pieces) await engine.ingest(family, bytes, new Uint8Array(1))
      await engine.finishIngest(position, families, familyIdNext)
    },
  }
}

function parse(bytes: Uint8Array, path: string): Manifest {
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as Manifest
  } catch (error) {
    throw new UnderstudyError('CORRUPTION', `${path} is damaged`, { cause: error })
  }
}
