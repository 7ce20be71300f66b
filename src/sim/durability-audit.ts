/**
 * At the moment when a primary answers a write: if now the power went everywhere and nothing unsynced survived, on how
 * many disks would the write be? Asked of a sample, since every disk is copied and read for it.
 */
import { inspectJournal } from '../journal/inspect.js'
import type { SimulatedNode } from './simulated-node.js'

export async function nodesThatHold(machines: Iterable<SimulatedNode>, sequence: number): Promise<readonly string[]> {
  const found: string[] = []
  for (const one of machines) if (await holds(one, sequence)) found.push(one.name)
  return found
}

async function holds(one: SimulatedNode, sequence: number): Promise<boolean> {
  const disk = one.disk.clone()
  disk.crash({ keep: 'none' })
  const files = disk.process()
  const directory = files.join(one.directory, 'shards', 'main', 'current', 'journal')
  if ((await files.stat(directory)) === undefined) return false
  let first: number | undefined
  try {
    for await (const record of inspectJournal(files, directory)) {
      if (record.type !== 'block') continue
      const { header, end } = record.block
      first ??= header.firstSequence
      // What this journal begins after is in the engine.
      if (sequence < first || (sequence >= header.firstSequence && sequence <= end.sequence)) return true
    }
  } catch {
    // A directory that is being made or given up: it holds nothing to rest on.
    return false
  }
  return false
}
