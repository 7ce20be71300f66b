/**
 * Knows what was acknowledged and what was applied anywhere, and holds each new thing against it as it happens: a
 * violation is found at the event that makes it true.
 */
import type { Block } from '../core/entry.js'
import { compareEpochs, type Epoch, formatEpoch, formatPosition, type Position } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import type { PromoteResult } from '../runtime/handle.js'
import { EpochWatch, Problems } from './checks.js'
import { Fold, type FoldedBlock } from './fold.js'
import { GivenUp } from './given-up.js'

type Place = { readonly epoch: Epoch; readonly sequence: number }

export class Oracle {
  readonly problems = new Problems()
  readonly epochs: EpochWatch
  readonly fold = new Fold((text) => this.problems.add(text))
  /** What forced promotions allow to be lost. */
  readonly givenUp = new GivenUp()
  acknowledgedCount = 0
  /** How often committed blocks were replaced by others. */
  replaced = 0
  private readonly durability: 'local' | 'standby'
  private readonly nowMs: () => number
  /** The highest of each epoch: whoever has it has the others. */
  private readonly acknowledged = new Map<string, Place>()
  private highest: Place | undefined

  /** `byHand`: nobody but people choose the primary, and two of them may force two nodes at once. */
  constructor(durability: 'local' | 'standby', nowMs: () => number, byHand = false) {
    this.durability = durability
    this.nowMs = nowMs
    const isForced = (epoch: Epoch) => this.givenUp.isForced(epoch) === true
    this.epochs = new EpochWatch((a, b) => byHand && (isForced(a) || isForced(b)))
  }

  /** Of what was acknowledged nothing is promised. */
  get mayLose(): boolean {
    return this.durability === 'local'
  }

  /** The newest position that a client was told. */
  get newestAcknowledged(): Place | undefined {
    return this.highest
  }

  /** A record that somebody has written, or goes by. */
  onRecord(record: ShardRecord): void {
    this.givenUp.onRecord(record, this.nowMs())
  }

  apply(node: string, applied: Position, blocks: readonly Block[]): void {
    let end = applied
    for (const block of blocks) {
      const { header, end: after } = block
      if (header.firstSequence > end.sequence + 1) {
        this.problems.add(`I4: ${node} applies ${header.firstSequence} after ${end.sequence}`)
      }
      if (header.firstSequence === end.sequence + 1 && header.chainBefore !== end.chain) {
        this.problems.add(`I4: ${node} applies ${header.firstSequence}, which does not follow what it has applied`)
      }
      end = after
      const change = this.fold.add(block, node)
      if (change.type === 'replaces') this.replaced += 1
      if (this.mayLose || change.type === 'known' || change.type === 'next') continue
      // Of two that exclude each other one must have been given up by the record under which the other is committed.
      const kept =
        change.type === 'replaces'
          ? change.left.find((left) => !this.givenUp.by(header.epoch, left.epoch))
          : this.mayStandBeside(change.newest, header.epoch)
            ? undefined
            : change.newest
      if (kept === undefined) continue
      this.problems.add(
        `I3: ${node} applies ${formatEpoch(header.epoch)}.${header.firstSequence}-${after.sequence}, but ${describeFolded(kept)}`,
      )
    }
  }

  /** An old primary goes on; or a forced one has a tail of an earlier epoch, which its own first block commits. */
  private mayStandBeside(newest: FoldedBlock, epoch: Epoch): boolean {
    return this.givenUp.by(newest.epoch, epoch) || this.givenUp.isGivenUp(newest.epoch)
  }

  applied(position: Position): void {
    this.fold.applied(position, this.nowMs())
  }

  acknowledge(client: string, position: Place): void {
    this.acknowledgedCount += 1
    this.epochs.acknowledged(position.epoch)
    if (this.highest === undefined || position.sequence > this.highest.sequence) this.highest = position
    const name = formatEpoch(position.epoch)
    const before = this.acknowledged.get(name)
    if (before === undefined || position.sequence > before.sequence) this.acknowledged.set(name, position)
    if (this.mayLose || this.fold.wasFolded(position)) return
    const told = `${client} was told ${formatPosition(position)}`
    const block = this.fold.holding(position.sequence)
    if (block === undefined) this.problems.add(`I1: ${told}, which nobody has applied`)
    else {
      this.problems.add(`I1: ${told}, but ${position.sequence} belongs to epoch ${formatEpoch(block.epoch)}`)
    }
  }

  /** A new primary takes writes: everything acknowledged is there, but for what its record gives up. */
  leads(node: string, epoch: Epoch, applied: Position | undefined): void {
    if (this.mayLose) return
    const lost = this.lost(epoch, applied === undefined ? undefined : this.fold.at(applied))
    if (lost === undefined) return
    this.problems.add(
      `I1: ${node} leads in epoch ${formatEpoch(epoch)} with ${applied?.sequence ?? 'nothing'} applied; ${formatPosition(lost)} was acknowledged`,
    )
  }

  /** An operator is told what a forced promotion gives up: that is what its record says, no more and no less. */
  promoted(node: string, { epoch, mayLose }: PromoteResult): void {
    const isForced = this.givenUp.isForced(epoch)
    if (isForced === undefined)
      this.problems.add(`C5: ${node} leads in epoch ${formatEpoch(epoch)}, which no record names`)
    else if (isForced !== (mayLose !== undefined)) {
      const said = mayLose === undefined ? 'nothing' : 'something'
      this.problems.add(
        `C5: ${node} says that epoch ${formatEpoch(epoch)} gives up ${said}, and its record the opposite`,
      )
    }
  }

  /** At the end: everything acknowledged is in the history that all have. */
  finish(): void {
    const { newest } = this.fold
    if (this.mayLose || newest === undefined) return
    const lost = this.lost(newest.epoch, newest)
    if (lost !== undefined) this.problems.add(`I1: ${formatPosition(lost)} was acknowledged, and is gone at the end`)
  }

  /** Epochs of which acknowledged writes are not in the present history. */
  get givenUpEpochs(): number {
    const { newest } = this.fold
    return [...this.acknowledged.values()].filter((position) => !this.fold.holds(position, newest)).length
  }

  private lost(epoch: Epoch, end: FoldedBlock | undefined): Place | undefined {
    for (const position of this.acknowledged.values()) {
      if (!this.fold.holds(position, end) && !this.givenUp.by(epoch, position.epoch)) return position
    }
    return undefined
  }

  /** A node says that a position is not in its history. */
  refused(node: string, position: Place): void {
    // After a forced promotion there are two, until the last node has heard of it.
    if (this.mayLose || this.givenUp.isAnything) return
    this.problems.add(`L6: ${node} calls ${formatPosition(position)} diverged, which nothing may have undone`)
  }

  /** A node takes back what it has applied. */
  rewind(node: string, from: Position, to: Position): void {
    if (this.mayLose || this.givenUp.isGivenUp(from.epoch)) return
    this.problems.add(`I4: ${node} takes back what it has applied, from ${formatPosition(from)} to ${to.sequence}`)
  }

  /** What was written or read in this epoch, and answered then, says nothing of the present history. */
  isBeside(epoch: Epoch, atMs: number): boolean {
    return compareEpochs(epoch, this.givenUp.sinceBy(atMs)) < 0
  }
}

function describeFolded({ by, epoch, firstSequence, sequence }: FoldedBlock): string {
  return `${by} has applied ${formatEpoch(epoch)}.${firstSequence}-${sequence}`
}
