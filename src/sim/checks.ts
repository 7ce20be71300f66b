/** What must hold for a whole cluster, checked from outside: over what was observed while it ran, and at the end. */
import { compareEpochs, type Epoch, formatEpoch } from '../core/position.js'

const problemsMax = 10

/** A list of which only the first few are kept, with the number of all. */
export class Problems {
  readonly texts: string[] = []
  count = 0

  add(text: string): void {
    this.count += 1
    if (this.texts.length < problemsMax) this.texts.push(text)
  }
}

/**
 * I2: one primary per epoch. Fed with what nodes say of themselves while the cluster runs, and with the epochs of the
 * blocks of all journals at the end.
 */
export class EpochWatch {
  readonly problems = new Problems()
  /** By number: who was seen to lead in it, by role or by a block; more than one only where that is allowed. */
  private readonly leaders = new Map<number, readonly string[]>()
  /** By node and history. */
  private readonly highest = new Map<string, Epoch>()
  private readonly mayMeet: (a: Epoch, b: Epoch) => boolean

  /**
   * An epoch is a number and a node. Numbers of two nodes meet only where nobody asks a majority first: then `mayMeet`
   * says so of these two.
   */
  constructor(mayMeet: (a: Epoch, b: Epoch) => boolean = () => false) {
    this.mayMeet = mayMeet
  }

  /** `role` as the node says it; `promised`: the highest epoch that it has seen, which never goes down. */
  status(
    node: string,
    seen: {
      readonly role: string
      readonly epoch: Epoch | undefined
      readonly promised: Epoch
      /** A history that was created beside another one, and in which nothing was written, may be given up for that. */
      readonly historyId?: string | undefined
      /** Where two processes call themselves the same: what tells their disks apart. */
      readonly directory?: string
    },
  ): void {
    const directory = `${seen.directory ?? node} ${seen.historyId}`
    const before = this.highest.get(directory)
    if (before !== undefined && compareEpochs(seen.promised, before) < 0) {
      this.problems.add(`${node} had seen epoch ${formatEpoch(before)} and now says ${formatEpoch(seen.promised)}`)
    }
    this.highest.set(directory, seen.promised)
    if (seen.role !== 'primary' || seen.epoch === undefined) return
    if (seen.epoch.node !== node) {
      this.problems.add(`${node} is primary in epoch ${formatEpoch(seen.epoch)}, which belongs to ${seen.epoch.node}`)
    }
    this.lead(seen.epoch, `${node} says that it is primary`)
  }

  /** A disk is lost: what it had promised is gone with it. */
  forget(disk: string): void {
    for (const directory of [...this.highest.keys()])
      if (directory.startsWith(`${disk} `)) this.highest.delete(directory)
  }

  /** An acknowledgement: somebody committed in this epoch. */
  acknowledged(epoch: Epoch): void {
    this.lead(epoch, 'a write was acknowledged')
  }

  /** The blocks of one journal in their order: epochs grow, and each number has one node on all nodes. */
  journal(node: string, blocks: Iterable<{ readonly epoch: Epoch; readonly firstSequence: number }>): void {
    let before: Epoch | undefined
    for (const { epoch, firstSequence } of blocks) {
      if (before !== undefined && compareEpochs(epoch, before) < 0) {
        this.problems.add(
          `journal of ${node}: epoch ${formatEpoch(epoch)} at ${firstSequence} after ${formatEpoch(before)}`,
        )
      }
      if (before === undefined || compareEpochs(epoch, before) !== 0) {
        this.lead(epoch, `journal of ${node} at ${firstSequence}`)
      }
      before = epoch
    }
  }

  get epochs(): number {
    return this.leaders.size
  }

  private lead(epoch: Epoch, where: string): void {
    const { number, node } = epoch
    const known = this.leaders.get(number) ?? []
    if (known.includes(node)) return
    this.leaders.set(number, [...known, node])
    for (const other of known) {
      if (this.mayMeet(epoch, { number, node: other })) continue
      this.problems.add(`epoch ${number} has two primaries, ${other} and ${node} (${where})`)
    }
  }
}

/** One block of a journal as far as it is compared. */
export interface BlockPrint {
  readonly firstSequence: number
  readonly lastSequence: number
  readonly epoch: Epoch
  /** Of all bytes of the block. */
  readonly digest: string
}

export interface JournalPrint {
  readonly node: string
  /** The sequence after which this journal begins, and the last one that is committed here. */
  readonly baseSequence: number
  readonly committed: number
  /** In order; blocks outside of the compared range do no harm. */
  readonly blocks: readonly BlockPrint[]
}

export interface JournalComparison {
  readonly from: number
  readonly to: number
  /** Blocks of each node that were compared. */
  readonly blocks: number
  readonly problems: Problems
}

/** I3, J5: the journals of all nodes, block by block, over the range that all of them hold and have committed. */
export function compareJournals(journals: readonly JournalPrint[]): JournalComparison {
  const problems = new Problems()
  const from = Math.max(...journals.map(({ baseSequence }) => baseSequence)) + 1
  const to = Math.min(...journals.map(({ committed }) => committed))
  const [first, ...others] = journals.map(({ node, blocks }) => ({
    node,
    blocks: blocks.filter(({ firstSequence, lastSequence }) => firstSequence >= from && lastSequence <= to),
  }))
  if (first === undefined) return { from, to, blocks: 0, problems }
  for (const [index, block] of first.blocks.entries()) {
    const before = first.blocks[index - 1]
    if (before !== undefined && block.firstSequence !== before.lastSequence + 1) {
      problems.add(`journal of ${first.node}: block ${block.firstSequence} follows ${before.lastSequence}`)
    }
  }
  for (const other of others) {
    const length = Math.max(first.blocks.length, other.blocks.length)
    for (let index = 0; index < length; index++) {
      const ours = first.blocks[index]
      const theirs = other.blocks[index]
      if (ours !== undefined && theirs !== undefined && isSameBlock(ours, theirs)) continue
      problems.add(
        `journals differ: ${first.node} has ${describeBlock(ours)}, ${other.node} ${describeBlock(theirs)} (${from} to ${to} compared)`,
      )
      break
    }
  }
  // A block that begins before the range, or ends behind it, is left out; one that covers all of it as well.
  if (to >= from && first.blocks.length === 0) problems.add(`no whole block between ${from} and ${to} was compared`)
  return { from, to, blocks: first.blocks.length, problems }
}

function isSameBlock(a: BlockPrint, b: BlockPrint): boolean {
  return (
    a.firstSequence === b.firstSequence &&
    a.lastSequence === b.lastSequence &&
    a.digest === b.digest &&
    compareEpochs(a.epoch, b.epoch) === 0
  )
}

function describeBlock(block: BlockPrint | undefined): string {
  if (block === undefined) return 'nothing more'
  const { firstSequence, lastSequence, epoch, digest } = block
  return `entries ${firstSequence}-${lastSequence} of epoch ${formatEpoch(epoch)} (${digest.slice(0, 12)})`
}

/** Contents of all nodes at one position, as one digest each. */
export function compareContents(contents: ReadonlyMap<string, string>): Problems {
  const problems = new Problems()
  const byDigest = new Map<string, string[]>()
  for (const [node, digest] of contents) byDigest.set(digest, [...(byDigest.get(digest) ?? []), node])
  if (byDigest.size > 1) {
    const groups = [...byDigest].map(([digest, nodes]) => `${nodes.join(', ')}: ${digest.slice(0, 12)}`)
    problems.add(`contents differ: ${groups.join('; ')}`)
  }
  return problems
}
