import { decodeEntries } from '../codec/block.js'
import type { Block, Operation } from '../core/entry.js'
import { type BytesTree, newBytesTree } from './bytes-tree.js'
import type { FamilyTable } from './family-table.js'
import { dataKey, familyEnd, purgeKey } from './level-keys.js'

export type LevelOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

/** Calls back with the keys in [start, end) that the store held before the batch. */
export type KeyVisitor = (start: Buffer, end: Buffer, visit: (key: Uint8Array) => void) => Promise<void>

const noValue = new Uint8Array(0)

/**
 * Blocks folded into one LevelDB batch, which LevelDB applies in order. It has no range deletion, so a range is
 * resolved into its keys: those in the store before the batch, and those that the batch itself has put so far.
 */
export class LevelBatch {
  readonly operations: LevelOperation[] = []
  readonly dropped: number[] = []
  table: FamilyTable
  private readonly visitKeys: KeyVisitor
  /** Keys put by this batch; kept only from its first range deletion on. */
  private pending: BytesTree<true> | undefined

  constructor(table: FamilyTable, visitKeys: KeyVisitor) {
    this.table = table
    this.visitKeys = visitKeys
  }

  async add(block: Block): Promise<void> {
    for (const entry of decodeEntries(block)) {
      for (const operation of entry.operations) {
        if (operation.type === 'put' || operation.type === 'del') this.addKey(operation)
        else if (operation.type === 'delRange') await this.deleteRange(operation)
        else this.changeTable(operation)
      }
    }
  }

  private addKey(operation: Operation & { type: 'put' | 'del' }): void {
    if (!this.table.has(operation.family)) return
    const key = dataKey(operation.family, operation.key)
    if (operation.type === 'del') {
      this.operations.push({ type: 'del', key })
      return
    }
    this.operations.push({ type: 'put', key, value: operation.value })
    this.pending?.set(key, true)
  }

  private async deleteRange(operation: Operation & { type: 'delRange' }): Promise<void> {
    if (!this.table.has(operation.family)) return
    const start = dataKey(operation.family, operation.start)
    const end = dataKey(operation.family, operation.end)
    if (Buffer.compare(start, end) >= 0) return
    if (this.pending === undefined) {
      this.pending = newBytesTree()
      for (const { type, key } of this.operations) if (type === 'put') this.pending.set(key, true)
    }
    const drop = (key: Uint8Array) => this.operations.push({ type: 'del', key })
    this.pending.forRange(start, end, false, drop)
    this.pending.deleteRange(start, end, false)
    await this.visitKeys(start, end, drop)
  }

  private changeTable(operation: Operation & { type: 'createFamily' | 'dropFamily' }): void {
    const changed = this.table.with(operation)
    if (changed === this.table) return
    this.table = changed
    if (operation.type === 'createFamily') return
    // The keys are purged later, in steps; ids are not reused, so that nobody can see them meanwhile.
    this.dropped.push(operation.family)
    this.operations.push({ type: 'put', key: purgeKey(operation.family), value: noValue })
  }
}

/** The range of a whole family. */
export function familyBounds(family: number): { readonly start: Buffer; readonly end: Buffer } {
  return { start: dataKey(family, noValue), end: familyEnd(family) }
}
