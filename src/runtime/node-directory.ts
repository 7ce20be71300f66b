import { isFailure, UnderstudyError } from '../errors.js'
import type { DirectoryLock, FileSystem } from '../ports/file-system.js'
import { makeDurableDirectory } from '../storage/durable-directory.js'
import { readDurableJson, writeDurableJson } from '../storage/durable-json.js'

interface NodeFile {
  readonly formatVersion: number
  readonly cluster: string
  readonly node: string
  readonly engine: string
}

export interface NodeDirectory {
  readonly files: FileSystem
  readonly directory: string
  readonly cluster: string
  readonly node: string
  readonly engine: string
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  /** Writes `understudy.json` anew if it is damaged: the data behind it is given up anyway. */
  readonly replaceDamaged: boolean
}

/** In the place of an engine: the directory holds a voter's state and no data. */
export const witnessEngine = 'witness'

const nodeFileName = 'understudy.json'
const formatVersion = 1

/** Takes the directory for this process, and checks that it is this node's; an empty one becomes it. */
export async function takeDirectory(wanted: NodeDirectory): Promise<DirectoryLock> {
  const { files, directory } = wanted
  const stat = await files.stat(directory)
  if (stat !== undefined && stat.kind !== 'directory') {
    throw new UnderstudyError('FOREIGN_DIRECTORY', `${directory} is not a directory`)
  }
  const names = stat === undefined ? [] : await files.list(directory)
  const hasNodeFile = names.includes(nodeFileName)
  const found = hasNodeFile ? await readNodeFile(wanted) : undefined
  const exists = hasNodeFile && names.includes(wanted.engine === witnessEngine ? 'voter' : 'shards')
  if (!hasNodeFile && names.some((name) => name !== 'lock' && name !== `${nodeFileName}.tmp`)) {
    throw new UnderstudyError(
      'FOREIGN_DIRECTORY',
      `${directory} holds something else (${names.slice(0, 5).join(', ')})`,
      {
        hint: 'choose an empty directory or one that this node made',
      },
    )
  }
  if (!exists && !wanted.createIfMissing) {
    throw new UnderstudyError('CONFIG', `${directory} does not exist and createIfMissing is false`)
  }
  if (exists && wanted.errorIfExists) {
    throw new UnderstudyError('CONFIG', `${directory} exists and errorIfExists is true`)
  }
  await makeDurableDirectory(files, directory)
  const lock = await files.lock(directory)
  if (lock === undefined) {
    throw new UnderstudyError('LOCKED', `${directory} is in use by another process`, {
      hint: 'one process opens a directory; connect to it over HTTP, or end it first',
    })
  }
  try {
    if (found === undefined) {
      const { cluster, node, engine } = wanted
      await writeDurableJson(files, directory, nodeFileName, {
        formatVersion,
        cluster,
        node,
        engine,
      } satisfies NodeFile)
    } else refuseOther(wanted, found)
  } catch (error) {
    await lock.release()
    throw error
  }
  return lock
}

async function readNodeFile(wanted: NodeDirectory): Promise<NodeFile | undefined> {
  try {
    return (await readDurableJson(wanted.files, wanted.directory, nodeFileName)) as NodeFile | undefined
  } catch (error) {
    if (wanted.replaceDamaged && isFailure(error, 'CORRUPTION')) return undefined
    throw error
  }
}

function refuseOther(wanted: NodeDirectory, found: NodeFile): void {
  const refuse = (
    what: string,
    has: string,
    wants: string,
    code: 'FOREIGN_DIRECTORY' | 'ENGINE_MISMATCH' | 'FORMAT_VERSION',
  ) => {
    throw new UnderstudyError(code, `${wanted.directory} was made for ${what} ${has}; configured is ${wants}`, {
      hint: 'correct the configuration or choose another directory',
    })
  }
  if (found.formatVersion !== formatVersion)
    refuse('format version', String(found.formatVersion), String(formatVersion), 'FORMAT_VERSION')
  if (found.cluster !== wanted.cluster) refuse('cluster', found.cluster, wanted.cluster, 'FOREIGN_DIRECTORY')
  if (found.node !== wanted.node) refuse('node', found.node, wanted.node, 'FOREIGN_DIRECTORY')
  if (found.engine !== wanted.engine && [found.engine, wanted.engine].includes(witnessEngine)) {
    const kind = (engine: string) => (engine === witnessEngine ? 'witness' : 'data node')
    refuse('a', kind(found.engine), kind(wanted.engine), 'FOREIGN_DIRECTORY')
  }
  if (found.engine !== wanted.engine) refuse('engine', found.engine, wanted.engine, 'ENGINE_MISMATCH')
}
