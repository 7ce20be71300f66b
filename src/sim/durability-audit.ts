/**
 * At the moment when a primary answers a write: if now the power went everywhere and nothing unsynced survived, on how
 * many disks would the write be? Asked of a sample, since every disk is read for it.
 */
import { asBuffer, blockHeaderBytes, decodeBlock, decodeBlockHeader } from '../codec/block.js'
import { inspectJournal } from '../journal/inspect.js'
import {
  alignRecord,
  decodeNote,
  decodeSegmentHeader,
  hasNoteMagic,
  noteBytes,
  segmentHeaderBytesMax,
} from '../journal/segment-format.js'
import { truncationName } from '../journal/truncation.js'
import type { DiskContent } from './disk-content.js'
import type { SimulatedNode } from './simulated-node.js'

const segmentPattern = /^\d+\.journal$/

export async function nodesThatHold(machines: Iterable<SimulatedNode>, sequence: number): Promise<readonly string[]> {
  const found: string[] = []
  for (const one of machines) if (await holds(one, sequence)) found.push(one.name)
  return found
}

async function holds(one: SimulatedNode, sequence: number): Promise<boolean> {
  if (isPlainlyThere(one, sequence)) return true
  // The newest segment tells most; the others are read only for what is older.
  const found = await lookIn(one, sequence, (segments) => segments.slice(-1))
  if (found !== 'older' && found !== 'empty') return found === 'yes'
  const inAll = await lookIn(one, sequence, (segments) => segments)
  return inAll === 'older' || inAll === 'yes'
}

/**
 * The usual case, without a copy: the newest segment is whole up to the block with this sequence, and nobody has begun
 * to cut. False says nothing.
 */
function isPlainlyThere(one: SimulatedNode, sequence: number): boolean {
  const files = one.disk.certain(journalOf(one))
  if (files === undefined || files.has(truncationName)) return false
  let newest = ''
  for (const name of files.keys()) if (segmentPattern.test(name) && name > newest) newest = name
  const file = files.get(newest)
  return file !== undefined && segmentHolds(file, sequence)
}

/** A block that was found, all that stands before it being whole. */
interface Found {
  readonly at: number
  readonly firstSequence: number
  readonly salt: string
}

/** Of each file the block that was asked for last: the next question is nearly always about one that follows it. */
const found = new WeakMap<DiskContent, Found>()

function segmentHolds(file: DiskContent, sequence: number): boolean {
  const unchanged = file.takeUnchanged()
  const known = found.get(file)
  found.delete(file)
  const bytes = asBuffer(file.certain)
  try {
    const isKnown = known !== undefined && known.at <= unchanged && known.firstSequence <= sequence
    const from = isKnown ? known : beginOf(bytes)
    if (from === undefined) return false
    const { salt } = from
    for (let { at } = from; at < bytes.length; ) {
      if (hasNoteMagic(bytes, at)) {
        if (decodeNote(bytes, at, salt, at) === undefined) return false
        at += noteBytes
        continue
      }
      const header = decodeBlockHeader(bytes.subarray(at, at + blockHeaderBytes))
      const end = at + blockHeaderBytes + header.payloadBytes
      if (sequence < header.firstSequence) return false
      if (sequence < header.firstSequence + header.entryCount) {
        decodeBlock(bytes.subarray(at, end))
        found.set(file, { at, firstSequence: header.firstSequence, salt })
        return true
      }
      at = alignRecord(end)
    }
  } catch {
    // The end of what was written, or damage: the other way of looking says which.
  }
  return false
}

function beginOf(bytes: Buffer): Pick<Found, 'at' | 'salt'> | undefined {
  const header = decodeSegmentHeader(bytes.subarray(0, segmentHeaderBytesMax))
  return 'expected' in header ? undefined : { at: header.headerBytes, salt: header.salt }
}

function journalOf(one: SimulatedNode): string {
  return `${one.directory}/shards/main/current/journal`
}

async function lookIn(
  one: SimulatedNode,
  sequence: number,
  wanted: (segments: readonly string[]) => readonly string[],
): Promise<'yes' | 'no' | 'older' | 'empty'> {
  const directory = journalOf(one)
  // Besides segments there may be the note of a cut that was begun: it counts.
  const disk = one.disk.remnant(directory, (names) => {
    const segments = names.filter((name) => segmentPattern.test(name))
    return [...wanted(segments), ...names.filter((name) => !segmentPattern.test(name))]
  })
  if (disk === undefined) return 'no'
  let first: number | undefined
  try {
    for await (const record of inspectJournal(disk.process(), directory)) {
      if (record.type !== 'block') continue
      const { header, end } = record.block
      first ??= header.firstSequence
      // What this journal begins after is in the engine.
      if (sequence < first) return 'older'
      if (sequence >= header.firstSequence && sequence <= end.sequence) return 'yes'
    }
  } catch {
    // A directory that is being made or given up: it holds nothing to rest on.
    return 'no'
  }
  return first === undefined ? 'empty' : 'no'
}
