/**
 * Reads a journal's files without a running node and without changing them: every header, block and note, and where
 * damage is. After damage it goes on with whatever is intact behind it.
 */
import {
  asBuffer,
  blockHeaderBytes,
  decodeBlock,
  decodeBlockHeader,
  decodeEntries,
  hasBlockHeader,
} from '../codec/block.js'
import type { Block } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { continuationFault, type DamageVerdict, judgeDamage, type Mismatch, segmentFault } from '../core/recovery.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { File, FileSystem } from '../ports/file-system.js'
import { lastNonZero, noteFault, RecordReader, type RecordSource, searchNotes } from './record-reader.js'
import {
  alignRecord,
  decodeNote,
  type NoteKind,
  noteBytes,
  parseSegmentName,
  type SegmentHeader,
  segmentSuffix,
} from './segment-format.js'
import { readSegmentHeader } from './segment-scan.js'
import { readTruncation, truncationName } from './truncation.js'

export type InspectRecord =
  | { readonly type: 'segment'; readonly file: string; readonly bytes: number; readonly header: SegmentHeader }
  | {
      readonly type: 'block'
      readonly file: string
      readonly offset: number
      readonly block: Block
      readonly operationCount: number
    }
  | {
      readonly type: NoteKind
      readonly file: string
      readonly offset: number
      readonly flushedBefore: number
      readonly committed: number
    }
  | {
      readonly type: 'damage'
      readonly file: string
      readonly offset: number
      readonly expected: string
      readonly found: string
      readonly verdict: DamageVerdict
    }
  /** A cut that was begun: whoever opens the journal next finishes it first. */
  | { readonly type: 'unfinished-cut'; readonly file: string; readonly to: Position }

export interface InspectOptions {
  /** Leaves out blocks that end before this sequence, and older segments as a whole. */
  readonly from?: number
}

interface FileFacts {
  readonly name: string
  readonly path: string
  readonly file: File
  readonly bytes: number
  readonly header: SegmentHeader | Mismatch
}

/** What is known where the next file begins; undefined after damage, or where nothing stands before. */
interface Progress {
  end: Position | undefined
  sequence: number
  sealed: boolean
}

/** `path`: a journal's directory, or one file of it (also a `divergent-….journal`). */
export async function* inspectJournal(
  fs: FileSystem,
  path: string,
  options: InspectOptions = {},
): AsyncGenerator<InspectRecord> {
  const stat = await fs.stat(path)
  if (stat === undefined) throw new UnderstudyError('CONFIG', `${path}: there is no such file or directory`)
  if (stat.kind === 'file') {
    yield* inspectFiles(fs, [path], options.from ?? 0)
    return
  }
  const names = await fs.list(path)
  const segments = names.filter((name) => parseSegmentName(name) !== undefined)
  const others = names.filter((name) => name.endsWith(segmentSuffix) && !segments.includes(name))
  if (segments.length + others.length === 0) {
    throw new UnderstudyError('CONFIG', `${path}: there are no journal segments`, {
      hint: 'give the directory that holds the *.journal files',
    })
  }
  if (names.includes(truncationName)) {
    yield { type: 'unfinished-cut', file: truncationName, to: (await readTruncation(fs, path)).to }
  }
  const from = options.from ?? 0
  const wanted = segments.filter((_, index) => {
    const next = segments[index + 1]
    return next === undefined || (parseSegmentName(next) ?? 0) > from
  })
  yield* inspectFiles(
    fs,
    wanted.map((name) => fs.join(path, name)),
    from,
  )
  for (const name of others) yield* inspectFiles(fs, [fs.join(path, name)], from)
}

/** Bytes of the blocks from `from` on, exactly as every node has them. Ends at a torn tail, throws at damage. */
export async function* rawBlocks(fs: FileSystem, path: string, from = 0): AsyncGenerator<Uint8Array> {
  for await (const record of inspectJournal(fs, path, { from })) {
    if (record.type === 'block') yield record.block.bytes
    if (record.type !== 'damage') continue
    if (record.verdict === 'tail') return
    throw new UnderstudyError(
      'CORRUPTION',
      `${record.file} is damaged at byte ${record.offset}: expected ${record.expected}, found ${record.found}`,
    )
  }
}

async function* inspectFiles(fs: FileSystem, paths: readonly string[], from: number): AsyncGenerator<InspectRecord> {
  const files: FileFacts[] = []
  try {
    for (const path of paths) {
      const file = await fs.open(path, 'read')
      const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
      files.push({ name, path, file, bytes: await file.size(), header: await readSegmentHeader(file, path) })
    }
    const progress: Progress = { end: undefined, sequence: 0, sealed: false }
    for (const [index, facts] of files.entries()) {
      const later = files.slice(index + 1).map(({ header }) => ('expected' in header ? -1 : header.base.sequence))
      for await (const record of inspectFile(facts, Math.max(-1, ...later), progress)) {
        if (record.type !== 'block' || record.block.end.sequence >= from) yield record
      }
    }
    const last = files.at(-1)
    if (progress.sealed && last !== undefined) {
      const fault = { expected: `a segment that begins with sequence ${progress.sequence + 1}`, found: 'none' }
      yield { type: 'damage', file: last.name, offset: last.bytes, ...fault, verdict: 'corruption' }
    }
  } finally {
    for (const { file } of files) await file.close()
  }
}

async function* inspectFile(facts: FileFacts, vouched: number, progress: Progress): AsyncGenerator<InspectRecord> {
  const { name: file, header, bytes } = facts
  const damage = (offset: number, fault: Mismatch, verdict: DamageVerdict): InspectRecord => ({
    type: 'damage',
    file,
    offset,
    ...fault,
    verdict,
  })
  progress.sealed = false
  let offset: number
  let salt = ''
  if ('expected' in header) {
    yield damage(0, header, 'corruption')
    progress.end = undefined
    offset = 0
  } else {
    yield { type: 'segment', file, bytes, header }
    const fault = progress.end && segmentFault(progress.end, header.base)
    if (fault !== undefined) yield damage(0, fault, 'corruption')
    if (bytes !== header.fileBytes) {
      yield damage(bytes, { expected: `a file of ${header.fileBytes} bytes`, found: `${bytes}` }, 'corruption')
    }
    progress.end = header.base
    progress.sequence = header.base.sequence
    offset = header.headerBytes
    salt = header.salt
  }
  const source: RecordSource = { file: facts.file, path: facts.path, salt }
  let reader = new RecordReader(source, { offset, limit: bytes })
  for (;;) {
    const record = await reader.next()
    if (record.kind === 'header') continue
    if (record.kind === 'block') {
      const fault = progress.end && continuationFault(progress.end, record.block.header)
      if (fault !== undefined) yield damage(record.offset, fault, 'corruption')
      const counted = countOperations(record.block)
      if (typeof counted !== 'number') yield damage(record.offset, counted, 'corruption')
      const operationCount = typeof counted === 'number' ? counted : 0
      progress.end = record.block.end
      progress.sequence = record.block.end.sequence
      yield { type: 'block', file, offset: record.offset, block: record.block, operationCount }
      continue
    }
    if (record.kind === 'note') {
      const { kind, flushedBefore, committed } = record.note
      yield { type: kind, file, offset: record.offset, flushedBefore, committed }
      progress.sealed = kind === 'seal'
      if (progress.sealed) return
      continue
    }
    if ((await lastNonZero(facts.file, record.offset, bytes)) === undefined) return
    const next =
      (record.kind === 'bad' ? record.nextOffset : undefined) ??
      (await searchRecord(source, record.offset + 8, bytes, progress.sequence))
    // Without the file's header its notes cannot be told from foreign ones, and where records begin is not known.
    const isUnknown = salt === '' && (record.offset === 0 || (record.kind === 'bad' && record.fault === noteFault))
    if (!isUnknown) {
      const fault = record.kind === 'bad' ? record.fault : { expected: 'a record', found: 'zeros before other bytes' }
      const noted = await searchNotes(source, record.offset, bytes)
      const flushedBefore = Math.max(vouched, noted)
      yield damage(record.offset, fault, judgeDamage({ firstBadSequence: progress.sequence + 1, flushedBefore }))
      progress.end = undefined
    }
    if (next === undefined) return
    reader = new RecordReader(source, { offset: next, limit: bytes })
  }
}

function countOperations(block: Block): number | Mismatch {
  try {
    let count = 0
    for (const entry of decodeEntries(block)) count += entry.operations.length
    return count
  } catch (error) {
    if (!isFailure(error, 'CORRUPTION')) throw error
    return { expected: 'entries that fill the block', found: error.message }
  }
}

/**
 * The next place from `offset` on with an intact note, or an intact block beyond `sequence`: bytes inside a value may
 * look like an older block.
 */
async function searchRecord(
  source: RecordSource,
  offset: number,
  limit: number,
  sequence: number,
): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(blockHeaderBytes, Math.min(limits.journalReadBytes, limit - offset)))
  for (let at = alignRecord(offset); at < limit; ) {
    const view = buffer.subarray(0, await source.file.read(buffer.subarray(0, limit - at), at))
    const isLast = view.length < buffer.length || at + view.length >= limit
    // A header that the end of this piece would cut in two belongs to the next one.
    const stop = isLast ? view.length - noteBytes : view.length - blockHeaderBytes
    let start = 0
    for (; start <= stop; start += 8) {
      if (view.readUInt32LE(start) === 0) continue
      if (decodeNote(view, start, source.salt, at + start) !== undefined) return at + start
      const found = view.subarray(start)
      if (hasBlockHeader(found) && (await isBlock(source, at + start, limit, found, sequence))) return at + start
    }
    if (isLast) return undefined
    at += start
  }
  return undefined
}

async function isBlock(
  source: RecordSource,
  offset: number,
  limit: number,
  head: Buffer,
  sequence: number,
): Promise<boolean> {
  try {
    const header = decodeBlockHeader(head.subarray(0, blockHeaderBytes))
    const blockBytes = blockHeaderBytes + header.payloadBytes
    if (header.firstSequence <= sequence || offset + blockBytes > limit) return false
    const bytes = asBuffer(new Uint8Array(blockBytes))
    if ((await source.file.read(bytes, offset)) < blockBytes) return false
    decodeBlock(bytes)
    return true
  } catch (error) {
    if (isFailure(error, 'CORRUPTION', 'FORMAT_VERSION')) return false
    throw error
  }
}
