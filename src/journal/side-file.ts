/**
 * Side file: entries that were cut from a journal because another history took their place. It is a segment file of
 * its own, exactly as long as what it holds, with two differences: `committed` in its header is the sequence where
 * the other history parts (below the base where the journal had been trimmed meanwhile), and its last record is a
 * flush mark at the very end, so that damage anywhere in it is told as such.
 */
import type { Block, EpochStart } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import type { Position } from '../core/position.js'
import type { FileSystem } from '../ports/file-system.js'
import type { JournalIdentity, SavedTail } from '../ports/journal.js'
import { RecordReader } from './record-reader.js'
import { alignRecord, decodeNote, encodeNote, encodeSegmentHeader, noteBytes } from './segment-format.js'
import { readSegmentHeader } from './segment-scan.js'

export interface SideFileContent {
  readonly identity: JournalIdentity
  readonly base: Position
  readonly commonSequence: number
  /** Epochs that begin at or below `base`. */
  readonly epochs: readonly EpochStart[]
  readonly salt: string
  readonly end: Position
  /** The blocks after `base` up to `end`, read as they are written. */
  readonly blocks: AsyncIterable<Block>
}

/** Durable, with its name, when it resolves; undefined if another content has the name. */
export async function writeSideFile(
  fs: FileSystem,
  directory: string,
  name: string,
  content: SideFileContent,
): Promise<SavedTail | undefined> {
  const path = fs.join(directory, name)
  if ((await fs.stat(path)) !== undefined) {
    if (!(await holdsSame(fs, path, content))) return undefined
    // Whoever wrote it may have ended before the name was durable.
    await fs.syncDirectory(directory)
    return describeSideFile(fs, path)
  }
  const temporary = `${path}.tmp`
  if ((await fs.stat(temporary)) !== undefined) await fs.remove(temporary)
  const draft = {
    identity: content.identity,
    base: content.base,
    committed: content.commonSequence,
    epochs: content.epochs,
    salt: content.salt,
  }
  const { headerBytes } = encodeSegmentHeader(draft, 0, 0).header
  const file = await fs.open(temporary, 'create')
  try {
    let offset = headerBytes
    let end = content.base
    for await (const block of content.blocks) {
      const next = alignRecord(offset + block.bytes.length)
      await file.write([block.bytes, new Uint8Array(next - offset - block.bytes.length)], offset)
      offset = next
      end = block.end
    }
    invariant(end.chain === content.end.chain, 'a side file holds everything that is cut')
    const note = { kind: 'mark' as const, flushedBefore: end.sequence, committed: content.commonSequence }
    await file.write([encodeNote(note, content.salt, offset)], offset)
    await file.write([encodeSegmentHeader(draft, offset + noteBytes, 0).bytes], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await fs.rename(temporary, path)
  await fs.syncDirectory(directory)
  return describeSideFile(fs, path)
}

export async function describeSideFile(fs: FileSystem, path: string): Promise<SavedTail | undefined> {
  const file = await fs.open(path, 'read')
  try {
    const header = await readSegmentHeader(file, path)
    if ('expected' in header || header.fileBytes !== (await file.size())) return undefined
    const offset = header.fileBytes - noteBytes
    if (offset < header.headerBytes) return undefined
    const bytes = Buffer.alloc(noteBytes)
    await file.read(bytes, offset)
    const note = decodeNote(bytes, 0, header.salt, offset)
    if (note === undefined) return undefined
    return {
      commonSequence: header.committed,
      firstSequence: header.base.sequence + 1,
      lastSequence: note.flushedBefore,
      bytes: header.fileBytes,
    }
  } finally {
    await file.close()
  }
}

/** The chain covers everything before it: the same base and end mean the same blocks, if all of them are intact. */
async function holdsSame(fs: FileSystem, path: string, content: SideFileContent): Promise<boolean> {
  const file = await fs.open(path, 'read')
  try {
    const header = await readSegmentHeader(file, path)
    if ('expected' in header || header.base.chain !== content.base.chain) return false
    if (header.committed !== content.commonSequence || header.fileBytes !== (await file.size())) return false
    const reader = new RecordReader(
      { file, path, salt: header.salt },
      { offset: header.headerBytes, limit: header.fileBytes },
    )
    let { chain } = header.base
    for (;;) {
      const record = await reader.next()
      if (record.kind === 'block' && record.block.header.chainBefore === chain) chain = record.block.end.chain
      else return record.kind === 'note' && chain === content.end.chain
    }
  } finally {
    await file.close()
  }
}
