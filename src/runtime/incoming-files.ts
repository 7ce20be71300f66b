import { type FileToFetch, partSuffix, reconcileFiles } from '../core/checkpoint-transfer.js'
import type { EngineFiles } from '../ports/engine.js'
import type { File, FileSystem } from '../ports/file-system.js'
import { incomingFilesName } from './shard-store.js'

/**
 * Files of a checkpoint on their way in. A file has its name only when all of it is synced and its checksum was read
 * back from the disk; before, it has another ending. All of them become the engine's directory by one rename.
 */
export class IncomingFiles {
  readonly directory: string
  private readonly files: FileSystem
  private readonly incoming: string
  private readonly engine: string
  private readonly checksum: EngineFiles['checksum']

  constructor(files: FileSystem, incoming: string, checksum: EngineFiles['checksum']) {
    this.files = files
    this.incoming = incoming
    this.checksum = checksum
    this.directory = files.join(incoming, incomingFilesName)
    this.engine = files.join(incoming, 'engine')
  }

  /** Bytes of whole files, before they are verified again. */
  async presentBytes(): Promise<{ readonly files: number; readonly bytes: number }> {
    const whole = (await this.present()).filter(({ name }) => !name.endsWith(partSuffix))
    return { files: whole.length, bytes: whole.reduce((sum, { bytes }) => sum + bytes, 0) }
  }

  /** Is everything here already the engine's directory? */
  async isPlaced(): Promise<boolean> {
    return (await this.files.stat(this.directory)) === undefined && (await this.files.stat(this.engine)) !== undefined
  }

  /**
   * Removes what the list does not name, and verifies what it does: a file that was whole before a restart may not be
   * any more. Calls `onKept` for each that is.
   */
  async reconcile(list: readonly FileToFetch[], onKept: (file: number) => void): Promise<void> {
    await this.files.makeDirectory(this.directory)
    await this.files.syncDirectory(this.incoming)
    const { toVerify, toRemove } = reconcileFiles(list, await this.present())
    for (const name of toRemove) await this.files.remove(this.path(name))
    for (const file of toVerify) {
      const { name, bytes, checksum } = list[file]!
      const found = await this.checksum(this.path(name))
      if (found.bytes === bytes && found.checksum === checksum) onKept(file)
      else await this.files.remove(this.path(name))
    }
  }

  /** An empty file for one that is fetched. */
  async create(name: string): Promise<File> {
    const path = this.path(`${name}${partSuffix}`)
    if ((await this.files.stat(path)) !== undefined) await this.files.remove(path)
    return this.files.open(path, 'create')
  }

  /** Syncs and closes a file that was written, and reads it back. True if it is what was announced. */
  async finish(file: File, expected: FileToFetch): Promise<boolean> {
    await file.sync()
    await file.close()
    const part = this.path(`${expected.name}${partSuffix}`)
    const { bytes, checksum } = await this.checksum(part)
    if (bytes !== expected.bytes || checksum !== expected.checksum) {
      await this.files.remove(part)
      return false
    }
    await this.files.rename(part, this.path(expected.name))
    return true
  }

  /** The files, all verified, become the directory of the engine. */
  async place(): Promise<void> {
    await this.files.syncDirectory(this.directory)
    await this.files.removeTree(this.engine)
    await this.files.rename(this.directory, this.engine)
    await this.files.syncDirectory(this.incoming)
  }

  async discard(): Promise<void> {
    await this.files.removeTree(this.directory)
    await this.files.syncDirectory(this.incoming)
  }

  private async present(): Promise<Array<{ name: string; bytes: number }>> {
    if ((await this.files.stat(this.directory)) === undefined) return []
    const present: Array<{ name: string; bytes: number }> = []
    for (const name of await this.files.list(this.directory)) {
      const stat = await this.files.stat(this.path(name))
      if (stat !== undefined) present.push({ name, bytes: stat.bytes })
    }
    return present
  }

  private path(name: string): string {
    return this.files.join(this.directory, name)
  }
}
