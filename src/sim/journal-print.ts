/** The blocks of a journal's files, as they are compared between nodes. */
import { createHash } from 'node:crypto'
import { inspectJournal } from '../journal/inspect.js'
import type { FileSystem } from '../ports/file-system.js'
import type { BlockPrint } from './checks.js'

/**
 * Blocks that end between `from` and `until`, both included. Behind `until` nothing is looked at: a node that runs is
 * writing there, and what is half written looks like damage. Damage before that is an error.
 */
export async function readBlockPrints(
  files: FileSystem,
  directory: string,
  from = 0,
  until = Number.POSITIVE_INFINITY,
): Promise<readonly BlockPrint[]> {
  const blocks: BlockPrint[] = []
  if (until < from) return blocks
  for await (const record of inspectJournal(files, directory, { from })) {
    if (record.type === 'damage' && record.verdict === 'corruption') {
      throw new Error(`journal in ${directory} is damaged: ${JSON.stringify(record)}`)
    }
    if (record.type !== 'block') continue
    const { header, end, bytes } = record.block
    if (end.sequence > until) break
    blocks.push({
      firstSequence: header.firstSequence,
      lastSequence: end.sequence,
      epoch: header.epoch,
      digest: createHash('sha256').update(bytes).digest('hex'),
    })
    if (end.sequence === until) break
  }
  return blocks
}
