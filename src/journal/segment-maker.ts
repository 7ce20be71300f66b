/**
 * Makes segment files. One is kept ready ahead of time, filled with zeros and synced, so that appending never
 * changes a file's size and a new segment costs a rename. Files are never used twice: old bytes cannot come back.
 */
import type { EpochStart } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { File, FileSystem } from '../ports/file-system.js'
import type { JournalIdentity } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import { Segment, writeZeros } from './segment.js'
import { encodeSegmentHeader, segmentName } from './segment-format.js'

export const spareName = 'spare.tmp'
const largeName = 'large.tmp'

export interface SegmentStart {
  readonly base: Position
  readonly committed: number
  readonly epochs: readonly EpochStart[]
}

export interface SegmentMakerOptions {
  readonly fs: FileSystem
  readonly directory: string
  readonly identity: JournalIdentity
  readonly segmentBytes: number
  readonly random: Random
  readonly logger: Logger
}

export class SegmentMaker {
  private readonly options: SegmentMakerOptions
  private spare: Promise<File | undefined> | undefined
  private closed = false

  constructor(options: SegmentMakerOptions) {
    this.options = options
  }

  /** For a file of its own. */
  newSalt(): string {
    return this.options.random.hex(8)
  }

  /** Begins to make the next spare file, unless there is one. */
  prepare(): void {
    this.spare ??= this.makeSpare()
  }

  /** A failure here is no failure of the journal yet: making the segment is tried again when it is needed. */
  private async makeSpare(): Promise<File | undefined> {
    const { directory, segmentBytes, logger } = this.options
    try {
      return await this.makeFile(spareName, segmentBytes)
    } catch (error) {
      logger.warn({ directory, error }, 'the next journal segment could not be prepared')
      return undefined
    }
  }

  private async makeFile(name: string, bytes: number): Promise<File> {
    const { fs, directory } = this.options
    const path = fs.join(directory, name)
    if ((await fs.stat(path)) !== undefined) await fs.remove(path)
    const file = await fs.open(path, 'create')
    try {
      for (let at = 0; at < bytes; at += limits.segmentFillBytes) {
        // Whoever closes waits for this, and throws it away.
        if (this.closed) return file
        await writeZeros(file, at, Math.min(bytes, at + limits.segmentFillBytes))
        await file.datasync()
      }
      await file.sync()
    } catch (error) {
      await file.close()
      await this.discard(name)
      throw error
    }
    return file
  }

  /** Frees the space of an unfinished file; what cannot be removed now, recovery removes. */
  private async discard(name: string): Promise<void> {
    const { fs, directory, logger } = this.options
    try {
      await fs.remove(fs.join(directory, name))
    } catch (error) {
      logger.warn({ directory, name, error }, 'an unfinished journal segment could not be removed')
    }
  }

  /**
   * A segment that begins after `start.base`, with room for `recordBytes`. Its header is durable before its name
   * exists, and its name before this resolves: a segment that is there always has its header. A file that has the
   * name already (a segment without blocks) is replaced.
   */
  async make(start: SegmentStart, recordBytes: number): Promise<Segment> {
    const { fs, directory, identity, segmentBytes, random } = this.options
    const draft = { ...start, identity, salt: random.hex(8) }
    const { bytes, header } = encodeSegmentHeader(draft, segmentBytes, recordBytes)
    const spare = header.fileBytes === segmentBytes ? await this.takeSpare() : undefined
    const temporary = header.fileBytes === segmentBytes ? spareName : largeName
    const file = spare ?? (await this.makeFile(temporary, header.fileBytes))
    const name = segmentName(start.base.sequence + 1)
    const path = fs.join(directory, name)
    try {
      await file.write([bytes], 0)
      await file.datasync()
      await fs.rename(fs.join(directory, temporary), path)
      await fs.syncDirectory(directory)
    } catch (error) {
      await file.close()
      throw error
    }
    return new Segment(name, path, header, file)
  }

  private async takeSpare(): Promise<File | undefined> {
    const spare = await this.spare
    this.spare = undefined
    return spare
  }

  /** Waits for the file in the making and removes it. */
  async close(): Promise<void> {
    this.closed = true
    const spare = await this.takeSpare()
    if (spare === undefined) return
    await spare.close()
    await this.discard(spareName)
  }
}
