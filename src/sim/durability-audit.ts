/**
 * At the moment when a primary answers a write: if now the power went everywhere and nothing unsynced survived, on how
 * many disks would the write be? Asked of a sample, since every disk is copied and read for it.
 */
import { inspectJournal } from '../journal/inspect.js'
import type { SimulatedNode } from './simulated-node.js'

const segmentPattern = /^\d+\.journal$/

export async function nodesThatHold(machines: Iterable<SimulatedNode>, sequence: number): Promise<readonly string[]> {
  const found: string[] = []
  for (const one of machines) if (await holds(one, sequence)) found.push(one.name)
  return found
}

const newestSegments = 2

async function holds(one: SimulatedNode, sequence: number): Promise<boolean> {
  // The newest segments tell most; the others are read only for what is older.
  const found = await lookIn(one, sequence, (segments) => segments.slice(-newestSegments))
  return found === 'older' ? (await lookIn(one, sequence, (segments) => segments)) !== 'no' : found === 'yes'
}

async function lookIn(
  one: SimulatedNode,
  sequence: number,
  wanted: (segments: readonly string[]) => readonly string[],
): Promise<'yes' | 'no' | 'older'> {
  const directory = `${one.directory}/shards/main/current/journal`
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
  return 'no'
}
