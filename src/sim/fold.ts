/**
 * What the blocks that engines fold say, kept apart from every engine: the tree of all histories, which of them is the
 * present one, and what each key and each column family was at each position of it.
 */
import { decodeEntries } from '../codec/block.js'
import type { Block, Operation } from '../core/entry.js'
import { compareEpochs, type Epoch, epochZero, formatEpoch, type Position, sameEpoch } from '../core/position.js'
import { FoldedContent } from './folded-content.js'

/** A block that somebody has folded. */
export interface FoldedBlock {
  readonly firstSequence: number
  readonly sequence: number
  readonly epoch: Epoch
  readonly chain: string
  /** The block before; undefined for the beginning of a history. */
  readonly before: FoldedBlock | undefined
  readonly by: string
  /** When somebody had applied it first, so that it may have been answered; infinite before that. */
  appliedMs: number
  readonly operations: ReadonlyArray<{ readonly sequence: number; readonly operation: Operation }>
}

/** A value, nothing, or not to be known here. */
export type Found = { readonly type: 'value'; readonly value: Uint8Array | undefined } | { readonly type: 'no family' }

export type FoldChange =
  | { readonly type: 'known' }
  /** Follows the newest of the present history. */
  | { readonly type: 'next' }
  /** Follows something older and is of a later epoch: what is in `left` is no longer of the present history. */
  | { readonly type: 'replaces'; readonly left: readonly FoldedBlock[] }
  /** Follows something older, or something that was left, in an earlier epoch than the newest. */
  | { readonly type: 'beside'; readonly newest: FoldedBlock }

const never = Number.POSITIVE_INFINITY

export class Fold {
  private readonly blocks = new Map<string, FoldedBlock>()
  /** The present history, oldest first. */
  private present: FoldedBlock[] = []
  private readonly isPresent = new Set<string>()
  private content = new FoldedContent()
  /** S8, as blocks are folded. */
  readonly onProblem: (text: string) => void

  constructor(onProblem: (text: string) => void) {
    this.onProblem = onProblem
  }

  get newest(): FoldedBlock | undefined {
    return this.present.at(-1)
  }

  /** Somebody is about to apply it. */
  add(block: Block, by: string): FoldChange {
    const { header, end } = block
    if (this.blocks.has(end.chain)) return { type: 'known' }
    const before = this.blocks.get(header.chainBefore) ?? this.begin(block, by)
    const folded: FoldedBlock = {
      firstSequence: header.firstSequence,
      sequence: end.sequence,
      epoch: header.epoch,
      chain: end.chain,
      before,
      by,
      appliedMs: never,
      operations: decodeEntries(block).flatMap(({ operations }, index) =>
        operations.map((operation) => ({ sequence: header.firstSequence + index, operation })),
      ),
    }
    this.blocks.set(end.chain, folded)
    const { newest } = this
    if (newest === undefined || before === newest) {
      this.append(folded)
      return { type: 'next' }
    }
    if (compareEpochs(folded.epoch, newest.epoch) <= 0) return { type: 'beside', newest }
    return { type: 'replaces', left: this.replace(folded) }
  }

  /** The block that ends at a position; undefined where nothing was folded yet. */
  at(position: Pick<Position, 'chain'>): FoldedBlock | undefined {
    return this.blocks.get(position.chain)
  }

  /** Of the history that ends with `end`, the block that holds a sequence. */
  holding(sequence: number, end: FoldedBlock | undefined = this.newest): FoldedBlock | undefined {
    let at = end
    while (at !== undefined && !this.isPresent.has(at.chain)) {
      if (at.firstSequence <= sequence) return at.sequence >= sequence ? at : undefined
      at = at.before
    }
    if (at === undefined || at.sequence < sequence) return undefined
    let low = 0
    let high = this.present.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.present[middle]!.sequence < sequence) low = middle + 1
      else high = middle
    }
    const found = this.present[low]
    return found !== undefined && found.firstSequence <= sequence ? found : undefined
  }

  /** Is this position of the history that ends with `end`? */
  holds(position: { readonly epoch: Epoch; readonly sequence: number }, end: FoldedBlock | undefined): boolean {
    // Before the first block of a history there is nothing that could be missing.
    if (position.sequence === 0) return true
    const found = this.holding(position.sequence, end)
    return found !== undefined && sameEpoch(found.epoch, position.epoch)
  }

  /** Was this position ever folded, in whichever history? */
  wasFolded(position: { readonly epoch: Epoch; readonly sequence: number }): boolean {
    if (this.holds(position, this.newest)) return true
    for (const block of this.blocks.values()) {
      const { firstSequence, sequence, epoch } = block
      if (firstSequence <= position.sequence && position.sequence <= sequence && sameEpoch(epoch, position.epoch))
        return true
    }
    return false
  }

  /** Somebody has applied everything up to there. */
  applied(position: Pick<Position, 'chain'>, nowMs: number): void {
    for (let at = this.at(position); at !== undefined && at.appliedMs > nowMs; at = at.before) at.appliedMs = nowMs
  }

  /** The newest block of the present history that somebody had applied by then. */
  newestBy(atMs: number): FoldedBlock | undefined {
    let low = 0
    let high = this.present.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.present[middle]!.appliedMs <= atMs) low = middle + 1
      else high = middle
    }
    return this.present[low - 1]
  }

  isOfPresent(block: FoldedBlock | undefined): boolean {
    return block === undefined || this.isPresent.has(block.chain)
  }

  /** What a key is in the history that ends with `end`. */
  valueAt(end: FoldedBlock | undefined, family: number, key: Uint8Array): Found {
    const content = this.contentOf(end)
    return content.valueAt(end?.sequence ?? 0, family, key)
  }

  /** As `describeEngine` describes an engine that holds the fold up to here. */
  describe(end: FoldedBlock | undefined): readonly string[] {
    return this.contentOf(end).describe(end?.sequence ?? 0)
  }

  /** The family of that id in the present history now. */
  family(id: number): { readonly name: string; readonly dropped: boolean } | undefined {
    return this.content.family(id)
  }

  private contentOf(end: FoldedBlock | undefined): FoldedContent {
    if (this.isOfPresent(end)) return this.content
    const path: FoldedBlock[] = []
    for (let at = end; at !== undefined; at = at.before) path.unshift(at)
    return contentOf(path)
  }

  /** A history begins before its first block. */
  private begin(block: Block, by: string): FoldedBlock | undefined {
    const { firstSequence, chainBefore } = block.header
    if (firstSequence !== 1) {
      this.onProblem(`I4: ${by} applies ${firstSequence}, but nobody has applied what is before it`)
    }
    const root: FoldedBlock = {
      firstSequence: 1,
      sequence: 0,
      epoch: epochZero,
      chain: chainBefore,
      before: undefined,
      by,
      appliedMs: never,
      operations: [],
    }
    this.blocks.set(chainBefore, root)
    if (this.newest === undefined) this.append(root)
    return root
  }

  private append(block: FoldedBlock): void {
    this.present.push(block)
    this.isPresent.add(block.chain)
    for (const { sequence, operation } of block.operations) {
      const problem = this.content.fold(sequence, operation)
      if (problem !== undefined)
        this.onProblem(`S8: ${block.by} applies ${sequence} of ${formatEpoch(block.epoch)}: ${problem}`)
    }
  }

  private replace(folded: FoldedBlock): readonly FoldedBlock[] {
    const path: FoldedBlock[] = []
    for (let at: FoldedBlock | undefined = folded; at !== undefined && !this.isPresent.has(at.chain); at = at.before)
      path.unshift(at)
    const common = path[0]?.before
    const kept = common === undefined ? 0 : this.present.indexOf(common) + 1
    const left = this.present.slice(kept)
    for (const { chain } of left) this.isPresent.delete(chain)
    const before = this.present.slice(0, kept)
    this.present = []
    this.content = new FoldedContent()
    for (const block of [...before, ...path]) this.append(block)
    return left
  }
}

function contentOf(path: readonly FoldedBlock[]): FoldedContent {
  const content = new FoldedContent()
  for (const { operations } of path) for (const { sequence, operation } of operations) content.fold(sequence, operation)
  return content
}
