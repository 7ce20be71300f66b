/** What must hold after a round, whatever was done in it. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { ClusterProcesses } from '#src/cli/cluster-processes.js'
import { compareEpochs, type Epoch, epochZero, formatEpoch } from '#src/core/position.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import type { DivergentFileStatus } from '#src/runtime/handle.js'
import { compareContents, compareJournals, type JournalPrint, Problems } from '#src/sim/checks.js'
import { readBlockPrints } from '#src/sim/journal-print.js'
import { checkLinearizability, type LinearizabilityResult } from '#src/sim/linearizability.js'
import type { RegisterOperation } from '#src/sim/register-history.js'
import type { Monitor } from './monitor.js'
import type { Acknowledged, RoundBook } from './round-book.js'

export interface RoundFindings {
  readonly problems: Problems
  readonly acknowledged: number
  /** Acknowledged writes that are not there any more. */
  readonly lost: number
  readonly unknown: number
  readonly refused: number
  readonly linearizable: LinearizabilityResult['verdict'] | 'not checked'
  readonly operations: number
  readonly unconfirmedReads: number
  readonly blocks: number
}

interface LossWindow {
  readonly fromMs: number
  readonly untilMs: number
}

/** Times of nodes are rounded to milliseconds, and an answer is on its way for a while. */
const roundingMs = 100

interface NodeContent {
  readonly digest: string
  readonly values: ReadonlyMap<string, string>
}

export class RoundChecks {
  private readonly cluster: ClusterProcesses
  private readonly names: readonly string[]
  private readonly monitor: Monitor
  private readonly durability: 'standby' | 'local'
  /** Journals are equal up to here. */
  private comparedTo = 0
  private epochBefore = 0
  private seenProblems = 0

  constructor(cluster: ClusterProcesses, names: readonly string[], monitor: Monitor, durability: 'standby' | 'local') {
    this.cluster = cluster
    this.names = names
    this.monitor = monitor
    this.durability = durability
  }

  async begin(): Promise<void> {
    const shards = await this.cluster.shards()
    this.epochBefore = Math.max(...[...shards.values()].map(({ epoch }) => epoch?.number ?? 0))
  }

  /** With `failed` the cluster is in no state to be compared; what was observed is judged all the same. */
  async end(book: RoundBook, primary: string, failed: Error | undefined): Promise<RoundFindings> {
    const problems = new Problems()
    if (failed !== undefined) problems.add(messageOf(failed))
    checkEpochOrder(book.acknowledged, problems)
    let blocks = 0
    let lost = 0
    let gone: readonly Acknowledged[] = []
    if (failed === undefined) {
      try {
        await this.cluster.untilEqual([primary, ...this.names.filter((name) => name !== primary)])
        const journals = await this.readJournals()
        const compared = compareJournals(journals)
        for (const text of compared.problems.texts) problems.add(`I3: ${text}`)
        for (const { node, blocks: read } of journals) this.monitor.watch.journal(node, read)
        blocks = compared.blocks
        gone = notIn(journals, book.acknowledged)
        const contents = await this.readContents(book)
        const differ = compareContents(new Map([...contents].map(([node, { digest }]) => [node, digest])))
        for (const text of differ.texts) problems.add(text)
        lost = Math.max(gone.length, this.checkUnique(book, contents.get(primary)!, problems))
        this.comparedTo = compared.to
      } catch (error) {
        problems.add(messageOf(error as Error))
      }
    }
    if (failed !== undefined) {
      // As far as it can be known: where the newest epoch is, everything acknowledged must be.
      gone = await this.notInNewest(book, problems)
      lost = gone.length
    }
    if (lost > 0) await this.judgeLoss(lost, gone, problems)
    const { watch } = this.monitor
    for (const text of watch.problems.texts.slice(this.seenProblems)) problems.add(`I2: ${text}`)
    this.seenProblems = watch.problems.texts.length
    // At `local` a history can be judged only where it is known what was lost.
    const known = this.durability === 'standby' || blocks > 0
    const judged =
      this.durability === 'standby' ? book.operations : untouched(book.operations, gone, this.lossWindows())
    const result = checkLinearizability(known ? judged : [])
    if (result.verdict === 'violated') {
      problems.add(`I7: ${result.violatedKeys.length} of ${result.keys} keys: ${result.violation?.text}`)
    } else if (result.verdict === 'undecided') problems.add(`undecided: ${result.undecidedKeys.join(', ')}`)
    else if (result.operations === 0) problems.add('F46: no operation was judged')
    return {
      problems,
      acknowledged: book.acknowledged.length,
      lost,
      unknown: book.unknown,
      refused: book.refused,
      linearizable: result.operations === 0 ? 'not checked' : result.verdict,
      operations: result.operations,
      unconfirmedReads: book.unconfirmed,
      blocks,
    }
  }

  /** At `local`, only what the new primary said may be lost, and all of it is kept beside the old one's journal. */
  private async judgeLoss(lost: number, gone: readonly Acknowledged[], problems: Problems): Promise<void> {
    const first = gone[0]
    const where = first && `the first at ${formatEpoch(first.epoch)}.${first.sequence}, acknowledged to ${first.client}`
    if (this.durability === 'standby') {
      problems.add(`I1: ${lost} acknowledged writes are lost; ${where}`)
      return
    }
    const kept = await this.keptAside()
    const unkept = gone.filter(
      ({ epoch, sequence }) =>
        !kept.some(
          (file) =>
            file.epoch === formatEpoch(epoch) &&
            sequence >= file.firstSequence - file.missingEntries &&
            sequence <= file.lastSequence,
        ),
    )
    if (unkept.length > 0) problems.add(`${unkept.length} of ${lost} lost writes are in no side file; ${where}`)
    const windows = this.lossWindows()
    const outside = gone.filter(({ returnedMs }) => {
      const atMs = performance.timeOrigin + returnedMs
      return !windows.some(({ fromMs, untilMs }) => atMs >= fromMs && atMs <= untilMs + roundingMs)
    })
    if (outside.length > 0) {
      problems.add(`I1: ${outside.length} of ${lost} lost writes are outside of what the failovers report; ${where}`)
    }
  }

  /** What the failovers of this round report, on the wall clock. */
  private lossWindows(): LossWindow[] {
    return [...this.monitor.failovers.values()].flatMap(({ epoch, at, tookMs, mayLose }) =>
      epoch.number > this.epochBefore && mayLose?.seconds !== undefined
        ? [{ untilMs: Date.parse(at), fromMs: Date.parse(at) - (tookMs ?? 0) - 1000 * mayLose.seconds - roundingMs }]
        : [],
    )
  }

  /** The side files of all nodes: what was cut from a journal when it found its place in another history. */
  private async keptAside(): Promise<readonly DivergentFileStatus[]> {
    const shards = await this.cluster.shards()
    return [...shards.values()].flatMap(({ divergentFiles }) => divergentFiles)
  }

  private checkUnique(book: RoundBook, { values }: NodeContent, problems: Problems): number {
    let lost = 0
    for (const { number, outcome } of book.unique) {
      const value = values.get(book.uniqueKey(number))
      if (outcome === 'ok' && value === undefined) lost += 1
      if (outcome === 'none' && value !== undefined) {
        problems.add(`${book.uniqueKey(number)} was refused with outcome none and is there`)
      }
      if (value !== undefined && !value.startsWith(`${number}.`)) {
        problems.add(`${book.uniqueKey(number)} holds ${JSON.stringify(value.slice(0, 40))}`)
      }
    }
    return lost
  }

  private async notInNewest(book: RoundBook, problems: Problems): Promise<readonly Acknowledged[]> {
    try {
      const journals = await this.readJournals()
      const newest = journals.reduce((a, b) => (compareEpochs(lastEpoch(b), lastEpoch(a)) > 0 ? b : a))
      return notIn([newest], book.acknowledged)
    } catch (error) {
      problems.add(`the journals could not be read: ${messageOf(error as Error)}`)
      return []
    }
  }

  private async readJournals(): Promise<readonly JournalPrint[]> {
    const journals: JournalPrint[] = []
    for (const node of this.names) {
      const { journal, sequence } = await this.cluster.shard(node)
      const baseSequence = Math.max(journal.baseSequence, this.comparedTo)
      const { committed } = sequence
      const directory = join(this.cluster.data(node), 'shards', 'main', 'current', 'journal')
      const blocks = await readBlockPrints(nodeFileSystem, directory, baseSequence + 1, committed)
      journals.push({ node, baseSequence, committed, blocks })
    }
    return journals
  }

  private async readContents(book: RoundBook): Promise<ReadonlyMap<string, NodeContent>> {
    const contents = new Map<string, NodeContent>()
    for (const node of this.names) contents.set(node, await this.readContent(node, book.prefix))
    return contents
  }

  private async readContent(node: string, prefix: string): Promise<NodeContent> {
    const { client } = this.cluster
    const path = `/v1/kv?prefix=${encodeURIComponent(prefix)}`
    const answer = await client.open(this.cluster.url(node), { method: 'GET', path })
    const hash = createHash('sha256')
    const pieces: Buffer[] = []
    for await (const piece of answer) {
      hash.update(piece as Buffer)
      pieces.push(piece as Buffer)
    }
    if (answer.statusCode !== 200) throw new Error(`${node} answers ${answer.statusCode} to a range`)
    const values = new Map<string, string>()
    for (const line of Buffer.concat(pieces).toString().split('\n')) {
      if (line === '') continue
      const { key, value } = JSON.parse(line) as { readonly key: string; readonly value: string }
      values.set(key, value)
    }
    if (values.size === 0) throw new Error(`${node} holds nothing of this round`)
    return { digest: hash.digest('hex'), values }
  }
}

function lastEpoch({ blocks }: JournalPrint): Epoch {
  return blocks.at(-1)?.epoch ?? epochZero
}

/** Acknowledged writes whose place in the history belongs to another epoch, or is beyond its end. */
function notIn(journals: readonly JournalPrint[], acknowledged: readonly Acknowledged[]): readonly Acknowledged[] {
  const longest = journals.reduce((a, b) => (b.baseSequence < a.baseSequence ? b : a))
  /** Last sequence of each epoch. */
  const ends = new Map<string, number>()
  for (const { epoch, lastSequence } of longest.blocks) ends.set(formatEpoch(epoch), lastSequence)
  return acknowledged.filter(
    ({ epoch, sequence }) => sequence > longest.baseSequence && sequence > (ends.get(formatEpoch(epoch)) ?? 0),
  )
}

/** I2, in real time: what is called after an acknowledgement in an epoch is never acknowledged in a lower one. */
function checkEpochOrder(acknowledged: readonly Acknowledged[], problems: Problems): void {
  const byReturn = [...acknowledged].sort((a, b) => a.returnedMs - b.returnedMs)
  const byCall = [...acknowledged].sort((a, b) => a.calledMs - b.calledMs)
  let highest: { readonly epoch: Epoch; readonly returnedMs: number } | undefined
  let at = 0
  for (const one of byCall) {
    for (; at < byReturn.length && byReturn[at]!.returnedMs < one.calledMs; at++) {
      const other = byReturn[at]!
      if (highest === undefined || compareEpochs(other.epoch, highest.epoch) > 0) highest = other
    }
    if (highest === undefined || compareEpochs(one.epoch, highest.epoch) >= 0) continue
    const laterMs = Math.round(one.calledMs - highest.returnedMs)
    problems.add(
      `I2: ${one.client} got an acknowledgement in epoch ${formatEpoch(one.epoch)}, called ${laterMs} ms after one in ${formatEpoch(highest.epoch)}`,
    )
    return
  }
}

/**
 * Operations on keys that no loss can have touched: all acknowledged writes to them are there, none is of unknown outcome,
 * and none was under way within the window of a loss. Such a write may have been applied on the old primary, seen there,
 * lost, and applied once more in the new history: acknowledged once, and seen twice.
 */
function untouched(
  operations: readonly RegisterOperation[],
  gone: readonly Acknowledged[],
  windows: readonly LossWindow[],
): readonly RegisterOperation[] {
  const touched = new Set(gone.map(({ key }) => key))
  for (const { key, outcome, kind, calledMs, returnedMs } of operations) {
    const [fromMs, untilMs] = [performance.timeOrigin + calledMs, performance.timeOrigin + returnedMs]
    const inWindow = windows.some((window) => fromMs <= window.untilMs && untilMs >= window.fromMs)
    if (outcome === 'unknown' || (kind !== 'get' && inWindow)) touched.add(key)
  }
  return operations.filter(({ key }) => !touched.has(key))
}

function messageOf(error: Error): string {
  const { hint } = error as { readonly hint?: string }
  return hint === undefined ? error.message : `${error.message}\n${hint}`
}
