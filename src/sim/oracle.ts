/**
 * Knows what was acknowledged and what was applied anywhere, and holds each new thing against it as it happens: a
 * violation is found at the event that makes it true.
 */
import type { Block } from '../core/entry.js'
import { compareEpochs, type Epoch, formatEpoch, type Position } from '../core/position.js'
import { EpochWatch, Problems } from './checks.js'

interface Folded {
  readonly chain: string
  readonly epoch: Epoch
  readonly firstSequence: number
  readonly by: string
}

export class Oracle {
  readonly problems = new Problems()
  readonly epochs = new EpochWatch()
  acknowledgedCount = 0
  private readonly durability: 'local' | 'standby'
  /** Committed blocks by their last sequence: what some node has applied. */
  private readonly folded = new Map<number, Folded>()
  private highestFolded = 0
  private acknowledged: { readonly epoch: Epoch; readonly sequence: number } | undefined
  /** An operator has forced a promotion: acknowledged writes may be gone from here on. */
  private lossy = false

  constructor(durability: 'local' | 'standby') {
    this.durability = durability
  }

  get mayLose(): boolean {
    return this.lossy || this.durability === 'local'
  }

  forced(): void {
    this.lossy = true
  }

  apply(node: string, applied: Position, blocks: readonly Block[]): void {
    let end = applied
    for (const { header, end: after } of blocks) {
      if (header.firstSequence > end.sequence + 1) {
        this.problems.add(`I4: ${node} applies ${header.firstSequence} after ${end.sequence}`)
      }
      if (header.firstSequence === end.sequence + 1 && header.chainBefore !== end.chain) {
        this.problems.add(`I4: ${node} applies ${header.firstSequence}, which does not follow what it has applied`)
      }
      end = after
      this.highestFolded = Math.max(this.highestFolded, after.sequence)
      const known = this.folded.get(after.sequence)
      if (known === undefined) {
        this.folded.set(after.sequence, {
          chain: after.chain,
          epoch: header.epoch,
          firstSequence: header.firstSequence,
          by: node,
        })
      } else if (known.chain !== after.chain) {
        if (!this.mayLose) {
          this.problems.add(
            `I3: ${node} applies ${formatEpoch(header.epoch)}.${header.firstSequence}-${after.sequence}, but ${known.by} has applied ${formatEpoch(known.epoch)}.${known.firstSequence}-${after.sequence}`,
          )
        } else if (compareEpochs(header.epoch, known.epoch) > 0) {
          this.folded.set(after.sequence, {
            chain: after.chain,
            epoch: header.epoch,
            firstSequence: header.firstSequence,
            by: node,
          })
        }
      }
    }
  }

  acknowledge(client: string, position: { readonly epoch: Epoch; readonly sequence: number }): void {
    this.acknowledgedCount += 1
    this.epochs.acknowledged(position.epoch)
    if (this.acknowledged === undefined || position.sequence > this.acknowledged.sequence) this.acknowledged = position
    if (this.mayLose) return
    const block = this.blockOf(position.sequence)
    const told = `${client} was told ${formatEpoch(position.epoch)}.${position.sequence}`
    if (block === undefined) this.problems.add(`I1: ${told}, which nobody has applied`)
    else if (compareEpochs(block.epoch, position.epoch) !== 0) {
      this.problems.add(`I1: ${told}, but ${position.sequence} belongs to epoch ${formatEpoch(block.epoch)}`)
    }
  }

  private blockOf(sequence: number): Folded | undefined {
    for (let at = sequence; at <= this.highestFolded; at++) {
      const block = this.folded.get(at)
      if (block !== undefined) return block
    }
    return undefined
  }

  /** A new primary takes writes: everything acknowledged is there. */
  leads(node: string, applied: Position | undefined): void {
    const { acknowledged } = this
    if (this.mayLose || acknowledged === undefined) return
    if (applied === undefined || applied.sequence < acknowledged.sequence) {
      this.problems.add(
        `I1: ${node} leads with ${applied?.sequence ?? 'nothing'} applied; ${formatEpoch(acknowledged.epoch)}.${acknowledged.sequence} was acknowledged`,
      )
    }
  }
}
