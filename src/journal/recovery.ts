/** Opens the segments of a directory, cuts the tail, and makes sure that what is reported durable is. */
import type { EpochStart } from '../core/entry.js'
import type { Position } from '../core/position.js'
import { segmentFault } from '../core/recovery.js'
import { UnderstudyError } from '../errors.js'
import type { File, FileSystem } from '../ports/file-system.js'
import type { JournalIdentity } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import { History } from './history.js'
import { lastNonZero } from './record-reader.js'
import { corruptionAt, Segment, writeZeros } from './segment.js'
import {
  encodeNote,
  type NoteKind,
  noteBytes,
  parseSegmentName,
  type SegmentHeader,
  segmentName,
} from './segment-format.js'
import { copyBytes, readSegmentHeader, type SegmentScan, scanSegment } from './segment-scan.js'
import { finishTruncation, readTruncation, removeSegmentsAfter, type Truncation, truncationName } from './truncation.js'

/** Left behind by a journal whose write or fsync failed: what survived is copied before it is trusted (J3). */
export const damagedName = 'damaged'
const rescueName = 'rescue.tmp'

export interface RecoveryOptions {
  readonly fs: FileSystem
  readonly directory: string
  readonly identity: JournalIdentity
  readonly logger: Logger
}

export interface RecoveredJournal {
  readonly history: History
  readonly committed: number
  /** What the newest segment's notes cover. */
  readonly flushedBefore: number
  readonly cutBytes: number
}

export async function recoverJournal(options: RecoveryOptions): Promise<RecoveredJournal> {
  const recovery = new Recovery(options)
  try {
    return await recovery.run()
  } catch (error) {
    await recovery.close()
    throw error
  }
}

class Recovery {
  private readonly fs: FileSystem
  private readonly directory: string
  private readonly identity: JournalIdentity
  private readonly logger: Logger
  private readonly files: File[] = []

  constructor(options: RecoveryOptions) {
    this.fs = options.fs
    this.directory = options.directory
    this.identity = options.identity
    this.logger = options.logger
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.close()
  }

  async run(): Promise<RecoveredJournal> {
    const names = await this.list()
    const cut = names.includes(truncationName) ? await readTruncation(this.fs, this.directory) : undefined
    if (cut !== undefined) await removeSegmentsAfter(this.fs, this.directory, cut.to)
    const scans = await this.scanAll(cut?.to)
    const newest = scans.at(-1)
    if (newest === undefined) throw this.missing(1)
    const cutBytes = await this.settle(scans, names.includes(damagedName), cut)
    await this.fs.syncDirectory(this.directory)
    if (cut !== undefined) await finishTruncation(this.fs, this.directory)
    if (names.includes(damagedName)) {
      await this.fs.remove(this.fs.join(this.directory, damagedName))
      await this.fs.syncDirectory(this.directory)
    }
    const history = new History(
      scans.map((scan) => scan.segment),
      newest.epochs,
    )
    const committed = Math.max(cut?.committed ?? 0, ...scans.map((scan) => scan.committed))
    return {
      history,
      committed: Math.min(committed, history.durable.sequence),
      flushedBefore: newest.flushedBefore,
      cutBytes,
    }
  }

  /** Names in the directory, without what unfinished work left behind. */
  private async list(): Promise<string[]> {
    const names = await this.fs.list(this.directory)
    for (const name of names.filter((one) => one.endsWith('.tmp'))) {
      await this.fs.remove(this.fs.join(this.directory, name))
    }
    return names.filter((name) => !name.endsWith('.tmp'))
  }

  private missing(sequence: number): UnderstudyError {
    return new UnderstudyError(
      'CORRUPTION',
      `${this.directory}: expected ${segmentName(sequence)}, found no such segment`,
      { hint: 'a part of the journal is gone: restore the file, or rebuild this node from another one' },
    )
  }

  private async openSegment(name: string): Promise<{ file: File; path: string; header: SegmentHeader } | undefined> {
    const path = this.fs.join(this.directory, name)
    const file = await this.fs.open(path, 'write')
    this.files.push(file)
    const header = await readSegmentHeader(file, path)
    if ('expected' in header) {
      // The header is durable before the name exists: a file with nothing in it at all may never have been used.
      if ((await lastNonZero(file, 0, await file.size())) === undefined) return undefined
      throw corruptionAt(path, 0, header)
    }
    this.checkIdentity(path, header.identity)
    const sequence = parseSegmentName(name)
    if (header.base.sequence + 1 !== sequence) {
      throw corruptionAt(path, 0, {
        expected: `a segment that begins with sequence ${sequence}`,
        found: `one that begins with ${header.base.sequence + 1}`,
      })
    }
    return { file, path, header }
  }

  private checkIdentity(path: string, found: JournalIdentity): void {
    for (const field of ['cluster', 'shard', 'historyId'] as const) {
      if (found[field] === this.identity[field]) continue
      throw new UnderstudyError(
        'FOREIGN_DIRECTORY',
        `${path} belongs to ${field} ${found[field]}; this node works for ${field} ${this.identity[field]}`,
        { hint: 'give this node its own directory; nothing has been changed in this one' },
      )
    }
  }

  private async scanAll(target: Position | undefined): Promise<SegmentScan[]> {
    const names = (await this.fs.list(this.directory)).filter((name) => parseSegmentName(name) !== undefined)
    const opened: Array<{ name: string; found: Awaited<ReturnType<Recovery['openSegment']>> }> = []
    for (const name of names) opened.push({ name, found: await this.openSegment(name) })
    const newestIndex = opened.findLastIndex((one) => one.found !== undefined)
    const scans: SegmentScan[] = []
    let epochs: readonly EpochStart[] = opened[0]?.found?.header.epochs ?? []
    for (const [index, { name, found }] of opened.entries()) {
      const previous = scans.at(-1)
      if (found === undefined) {
        await this.dropUnused(name, index === opened.length - 1, previous)
        break
      }
      const segment = new Segment(name, found.path, found.header, found.file)
      const fault = previous && segmentFault(previous.segment.end, segment.base)
      if (fault !== undefined) {
        throw segment.base.sequence > (previous?.segment.end.sequence ?? 0)
          ? this.missing((previous?.segment.end.sequence ?? 0) + 1)
          : corruptionAt(found.path, 0, fault)
      }
      const later = opened.slice(index + 1).map((one) => one.found?.header.base.sequence ?? -1)
      const vouched = Math.max(target?.sequence ?? -1, ...later)
      const scan = await scanSegment(segment, { epochs, vouched, target: index === newestIndex ? target : undefined })
      epochs = scan.epochs
      scans.push(scan)
    }
    const newest = scans.at(-1)
    if (newest?.sealed) throw this.missing(newest.segment.end.sequence + 1)
    return scans
  }

  /** A file of zeros, after a segment that nothing was continued from: never used. Else it is damage. */
  private async dropUnused(name: string, isNewest: boolean, previous: SegmentScan | undefined): Promise<void> {
    const path = this.fs.join(this.directory, name)
    const follows = previous !== undefined && segmentName(previous.segment.end.sequence + 1) === name
    if (!isNewest || !follows || previous.sealed) {
      throw corruptionAt(path, 0, { expected: 'the header of a segment', found: 'nothing but zeros' })
    }
    this.logger.warn({ path }, 'an empty journal segment was removed')
    await this.fs.remove(path)
    await this.fs.syncDirectory(this.directory)
  }

  /** Cuts tails, copies what a failed disk may have lost, seals, and syncs. Returns the bytes cut. */
  private async settle(scans: readonly SegmentScan[], rescue: boolean, cut: Truncation | undefined): Promise<number> {
    let cutBytes = 0
    for (const [index, scan] of scans.entries()) {
      const { segment } = scan
      const isNewest = index === scans.length - 1
      if (scan.tailBytes > 0) {
        cutBytes += scan.tailBytes
        this.logger.warn(
          { path: segment.path, offset: segment.nextOffset, bytes: scan.tailBytes, ...scan.tailFault },
          'the torn tail of the journal was cut',
        )
      }
      if (rescue && index >= scans.length - 2) await this.rescue(scan)
      else if (scan.tailBytes > 0) await segment.zero(segment.nextOffset)
      if (!isNewest && !scan.sealed) await this.writeNote(scan, 'seal', 0)
      if (isNewest && cut !== undefined) await this.writeNote(scan, 'mark', cut.committed)
      if (isNewest || !scan.sealed || scan.tailBytes > 0) await this.syncAgain(scan)
    }
    return cutBytes
  }

  private async writeNote({ segment }: SegmentScan, kind: NoteKind, committed: number): Promise<void> {
    const offset = segment.nextOffset
    const note = { kind, flushedBefore: segment.end.sequence, committed }
    await segment.file.write([encodeNote(note, segment.salt, offset)], offset)
    segment.nextOffset += noteBytes
  }

  /**
   * An fsync that failed left pages that the kernel calls clean: another fsync would succeed and store nothing. What
   * no note covers is therefore written once more, to the same place, before the fsync that vouches for it.
   */
  private async syncAgain(scan: SegmentScan): Promise<void> {
    const { segment, uncoveredOffset } = scan
    await copyBytes(segment, uncoveredOffset, segment.file)
    await segment.file.sync()
  }

  private async rescue(scan: SegmentScan): Promise<void> {
    const { segment } = scan
    const temporary = this.fs.join(this.directory, rescueName)
    const file = await this.fs.open(temporary, 'create')
    this.files.push(file)
    await copyBytes(segment, 0, file)
    await writeZeros(file, segment.nextOffset, segment.header.fileBytes)
    await file.sync()
    await this.fs.rename(temporary, segment.path)
    await this.fs.syncDirectory(this.directory)
    await segment.replaceFile(file)
    this.logger.warn({ path: segment.path }, 'a segment was copied to a new file after a disk error')
  }
}
