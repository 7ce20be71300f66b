import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { ClusterProcesses } from '#src/cli/cluster-processes.js'
import { Load, type LoadOptions } from '#src/cli/load.js'
import { type CheckResult, checkNode, isSound } from '#src/cli/load-check.js'
import { inspectJournal } from '#src/journal/inspect.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'

export const valueBytes = 200

/** Rounds of the long run; without it the tests are a sample. */
export const fullRounds = Number(process.env.UNDERSTUDY_FAULT_ROUNDS ?? 0)
export const isFull = fullRounds > 0

/** Printed by each test, so that its choices can be repeated with UNDERSTUDY_FAULT_SEED. */
export function chooseSeed(): number {
  const given = process.env.UNDERSTUDY_FAULT_SEED
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function createLoad(url: string, random: () => number, changes: Partial<LoadOptions> = {}): Load {
  return new Load(url, {
    writers: 32,
    valueBytes,
    operationsPerSecond: 2_000,
    batchPercent: 5,
    batchKeys: 50,
    counters: 200,
    random,
    ...changes,
  })
}

/** All nodes have the last entry, every acknowledged write, and the same content. The load has stopped. */
export async function assertNothingLost(
  cluster: ClusterProcesses,
  load: Load,
  names: readonly string[],
  bytes = valueBytes,
): Promise<readonly CheckResult[]> {
  await cluster.untilEqual(names)
  const results: CheckResult[] = []
  for (const name of names) {
    const result = await checkNode(cluster.client, cluster.url(name), load.ledger, bytes)
    assert.ok(isSound(result), `I1: node ${name}: ${JSON.stringify(result, null, 1)}`)
    assert.ok(result.keys > 0, 'F46: something was compared')
    results.push(result)
  }
  const hashes = new Set(results.map((result) => result.contentHash))
  assert.equal(hashes.size, 1, `the nodes differ: ${JSON.stringify(results, null, 1)}`)
  return results
}

/** The load goes on until so many more writes are acknowledged. */
export async function untilAcknowledged(load: Load, more: number, timeoutMs = 30_000): Promise<void> {
  const wanted = load.ledger.counts.acknowledged + more
  const endMs = performance.now() + timeoutMs
  while (load.ledger.counts.acknowledged < wanted) {
    if (performance.now() > endMs) {
      const { counts } = load.ledger
      throw new Error(
        `not within ${timeoutMs} ms: ${more} more writes acknowledged; ${JSON.stringify(counts)} ${load.describeFailures()}`,
      )
    }
    await pass(10)
  }
}

/** Lets time pass in which a fault has its effect; states are waited for by `until`. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

interface JournalBytes {
  readonly firstSequence: number
  readonly hash: string
  readonly blocks: number
}

/** I3, J5: blocks of the journals of all nodes over the range that all of them hold. Nothing is being written. */
export async function assertSameJournals(
  cluster: ClusterProcesses,
  names: readonly string[],
): Promise<{ readonly blocks: number; readonly from: number; readonly to: number }> {
  let from = 0
  let to = Number.MAX_SAFE_INTEGER
  for (const name of names) {
    const { journal, sequence } = await cluster.shard(name)
    from = Math.max(from, journal.baseSequence + 1)
    to = Math.min(to, sequence.committed)
  }
  const read = await Promise.all(names.map((name) => readJournal(cluster, name, from, to)))
  for (const [index, { firstSequence, hash, blocks }] of read.entries()) {
    assert.equal(
      firstSequence,
      read[0]!.firstSequence,
      `first block of ${names[index]} and ${names[0]} from ${from} on`,
    )
    assert.equal(
      hash,
      read[0]!.hash,
      `I3: blocks ${from} to ${to} of ${names[index]} (${blocks}) and ${names[0]} (${read[0]!.blocks})`,
    )
  }
  assert.ok(read[0]!.blocks > 0, `F46: blocks between ${from} and ${to} were compared`)
  return { blocks: read[0]!.blocks, from, to }
}

async function readJournal(cluster: ClusterProcesses, name: string, from: number, to: number): Promise<JournalBytes> {
  const directory = join(cluster.data(name), 'shards', 'main', 'current', 'journal')
  const hash = createHash('sha256')
  let blocks = 0
  let firstSequence = 0
  for await (const record of inspectJournal(nodeFileSystem, directory, { from })) {
    assert.notEqual(
      record.type === 'damage' && record.verdict,
      'corruption',
      `journal of ${name}: ${JSON.stringify(record)}`,
    )
    if (record.type !== 'block') continue
    // A node that runs is writing behind it.
    if (record.block.end.sequence > to) break
    if (blocks === 0) firstSequence = record.block.header.firstSequence
    hash.update(record.block.bytes)
    blocks += 1
  }
  return { firstSequence, hash: hash.digest('hex'), blocks }
}

/** a and b hold data, c is a member without data that is not running; the load goes to a. */
export async function withEmptyStandby(
  random: () => number,
  options: { readonly entries: number; readonly operationsPerSecond: number; readonly args?: readonly string[] },
): Promise<{ cluster: ClusterProcesses; load: Load }> {
  const { entries, operationsPerSecond, args = [] } = options
  const names = ['a', 'b', 'c'] as const
  const cluster = await ClusterProcesses.create({ names, durability: 'standby', inSyncMin: 2, args })
  const load = createLoad(cluster.url('a'), random, { operationsPerSecond })
  try {
    for (const name of names) cluster.start(name)
    await cluster.untilInSync('a', names, 60_000)
    await cluster.stop('c')
    cluster.eraseData('c')
    await cluster.untilInSync('a', ['a', 'b'])
    await load.fill(entries)
    return { cluster, load }
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** Middle and edges of a set of times. */
export function distribution(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (part: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0)
  return `n ${sorted.length}  min ${at(0)}  p50 ${at(0.5)}  p90 ${at(0.9)}  max ${at(1)} ms`
}
