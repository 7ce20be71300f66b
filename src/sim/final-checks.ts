/** What must hold when the faults are over and all nodes have stopped, from their disks. */
import { createHash } from 'node:crypto'
import { compareContents, compareJournals, type JournalPrint, Problems } from './checks.js'
import { compareWithFold } from './content-audit.js'
import { describeEngine } from './folded-content.js'
import { readBlockPrints } from './journal-print.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'

/** What all nodes hold, while they still run: one and the same, and the fold of what was committed. */
export async function compareNodes(cluster: SimulatedCluster): Promise<Problems> {
  const contents = new Map<string, string>()
  const problems = new Problems()
  for (const one of cluster.nodes) {
    const reader = one.serving?.shard().reader()
    if (reader === undefined) continue
    const { lines } = await describeEngine(reader)
    contents.set(one.name, createHash('sha256').update(lines.join('\n')).digest('hex'))
    const problem = await compareWithFold(cluster, one)
    if (problem !== undefined) problems.add(problem)
  }
  for (const text of compareContents(contents).texts) problems.add(text)
  return problems
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
