/** What must hold when the faults are over and all nodes have stopped, from their disks. */
import { createHash } from 'node:crypto'
import { compareContents, compareJournals, type JournalPrint, Problems } from './checks.js'
import { readBlockPrints } from './journal-print.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'

/** What all nodes hold, while they still run. */
export async function compareNodes(cluster: SimulatedCluster): Promise<Problems> {
  const contents = new Map<string, string>()
  for (const one of cluster.nodes) {
    const reader = one.serving?.shard().reader()
    if (reader === undefined) continue
    const hash = createHash('sha256')
    for (const { id } of reader.families) {
      const iterator = reader.scan(id, {})
      for (;;) {
        const entries = await iterator.next(1_000)
        if (entries.length === 0) break
        for (const [key, value] of entries)
          hash.update(`${id} ${key.length} ${value.length} `).update(key).update(value)
      }
      await iterator.close()
    }
    contents.set(one.name, hash.digest('hex'))
  }
  return compareContents(contents)
}

export async function compareDisks(cluster: SimulatedCluster): Promise<Problems> {
  const problems = new Problems()
  const journals: JournalPrint[] = []
  for (const one of cluster.nodes) journals.push(await printOf(one))
  for (const { node, blocks } of journals) cluster.oracle.epochs.journal(node, blocks)
  for (const text of compareJournals(journals).problems.texts) problems.add(`I3: ${text}`)
  return problems
}

async function printOf(one: SimulatedNode): Promise<JournalPrint> {
  // A copy without latencies, which is read at once.
  const files = one.disk.clone().process()
  const directory = files.join(one.directory, 'shards', 'main', 'current', 'journal')
  const blocks = await readBlockPrints(files, directory)
  const first = blocks[0]
  return {
    node: one.name,
    baseSequence: first === undefined ? 0 : first.firstSequence - 1,
    committed: blocks.at(-1)?.lastSequence ?? 0,
    blocks,
  }
}
