import type { Block } from '../core/entry.js'
import type { Position } from '../core/position.js'
import type { ReadOptions } from './segment.js'

/**
 * The most recent blocks in memory: always those that are not durable yet, and as many older ones as fit. It has no
 * gap, so whatever follows its first block is here.
 */
export class TailCache {
  private readonly bytesMax: number
  private blocks: Array<Block | undefined> = []
  /** Places before this index are empty; the array is cut only now and then. */
  private first = 0
  private bytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  push(block: Block): void {
    this.blocks.push(block)
    this.bytes += block.bytes.length
  }

  /** Drops the oldest blocks beyond the bound, none after `durableSequence`. */
  evict(durableSequence: number): void {
    while (this.bytes > this.bytesMax) {
      const oldest = this.blocks[this.first]
      if (oldest === undefined || oldest.end.sequence > durableSequence) break
      this.bytes -= oldest.bytes.length
      this.blocks[this.first] = undefined
      this.first++
    }
    if (this.first > 1024 && this.first * 2 > this.blocks.length) {
      this.blocks = this.blocks.slice(this.first)
      this.first = 0
    }
  }

  clear(): void {
    this.blocks = []
    this.first = 0
    this.bytes = 0
  }

  /** Index of the first block that begins at or after `sequence`. */
  private find(sequence: number): number {
    let low = this.first
    let high = this.blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const block = this.blocks[middle]
      if (block !== undefined && block.header.firstSequence < sequence) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Blocks after `from`; undefined if the one that would follow it is not here or does not follow its chain. */
  read(from: Position, options: ReadOptions): Block[] | undefined {
    let index = this.find(from.sequence + 1)
    const next = this.blocks[index]
    if (next?.header.firstSequence !== from.sequence + 1 || next.header.chainBefore !== from.chain) return undefined
    const blocks: Block[] = []
    let bytes = 0
    for (; index < this.blocks.length; index++) {
      const block = this.blocks[index]
      if (block === undefined || block.end.sequence > options.limitSequence) break
      bytes += block.bytes.length
      if (blocks.length > 0 && bytes > options.bytesMax) break
      blocks.push(block)
    }
    return blocks
  }

  /** The end of a block at exactly `sequence`; undefined if there is none here. */
  positionAt(sequence: number): Position | undefined {
    const block = this.blocks[this.find(sequence + 1) - 1]
    return block?.end.sequence === sequence ? block.end : undefined
  }

  /** True if `sequence` lies within what is here, so that `positionAt` answers for it. */
  covers(sequence: number): boolean {
    const oldest = this.blocks[this.first]
    return oldest !== undefined && sequence >= oldest.header.firstSequence
  }
}
