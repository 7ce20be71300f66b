import { decodeEntries } from '../codec/block.js'
import { decodeChunk } from '../codec/chunk.js'
import type { Block, Entry, Family, Operation } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import type { Position } from '../core/position.js'
import type {
  Engine,
  EngineChunk,
  EngineFactory,
  EngineIterator,
  EngineSnapshot,
  RewoundKey,
  ScanOptions,
} from '../ports/engine.js'
import { type BytesTree, newBytesTree } from './bytes-tree.js'
import { assertContinues } from './continuity.js'
import { FamilyTable } from './family-table.js'
import { closedError, MemoryIterator, MemorySnapshot, readMemoryChunk } from './memory-reader.js'

/** Everything in this process's memory: lost with it, and brought back by replay or bootstrap. */
export const memoryEngine: EngineFactory = Object.freeze({
  kind: 'memory' as const,
  async open(_directory: string, empty: Position): Promise<Engine> {
    return new MemoryEngine(empty)
  },
})

type Tree = BytesTree<Uint8Array>

/** Entries of the sample from which a size is estimated. */
const sampleEntries = 256

class MemoryEngine implements Engine {
  readonly kind = 'memory'
  readonly volatile = true
  readonly opened = Object.freeze({ checkpoint: undefined, applied: undefined })
  private readonly empty: Position
  private table = new FamilyTable()
  private readonly trees = new Map<number, Tree>([[0, newBytesTree()]])
  private appliedPosition: Position
  private progress: Uint8Array | undefined
  private readonly open = new Set<{ end(): void }>()
  private isClosed = false

  constructor(empty: Position) {
    this.empty = empty
    this.appliedPosition = empty
  }

  get applied(): Position {
    return this.appliedPosition
  }

  get families(): readonly Family[] {
    return this.table.families
  }

  get familyIdNext(): number {
    return this.table.idNext
  }

  async apply(blocks: readonly Block[]): Promise<void> {
    this.assertOpen()
    const first = blocks[0]
    const last = blocks.at(-1)
    if (first === undefined || last === undefined) return
    invariant(this.progress === undefined, 'nothing is applied to an engine before its ingestion is finished')
    assertContinues(this.appliedPosition, first)
    // Decoded before anything changes, and changed without a pause: readers see all of it or nothing.
    const entries: Entry[] = []
    for (const block of blocks) for (const entry of decodeEntries(block)) entries.push(entry)
    for (const entry of entries) for (const operation of entry.operations) this.applyOperation(operation)
    this.appliedPosition = last.end
  }

  private applyOperation(operation: Operation): void {
    if (operation.type === 'createFamily' || operation.type === 'dropFamily') {
      this.changeTable(operation)
      return
    }
    const tree = this.trees.get(operation.family)
    if (tree === undefined) return
    if (operation.type === 'put') {
      // Copies: what a block holds are views, and each would keep the whole block alive.
      tree.set(new Uint8Array(operation.key), new Uint8Array(operation.value))
    } else if (operation.type === 'del') {
      tree.delete(operation.key)
    } else if (Buffer.compare(operation.start, operation.end) < 0) {
      tree.deleteRange(operation.start, operation.end, false)
    }
  }

  private changeTable(operation: Operation & { type: 'createFamily' | 'dropFamily' }): void {
    const changed = this.table.with(operation)
    if (changed === this.table) return
    this.table = changed
    if (operation.type === 'createFamily') this.trees.set(operation.family, newBytesTree())
    else this.trees.delete(operation.family)
  }

  /** Nothing here outlives the process: the whole journal stays needed. */
  async checkpoint(): Promise<Position> {
    this.assertOpen()
    return this.empty
  }

  async get(family: number, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    return copyOf(this.treeOf(family, snapshot).get(key))
  }

  async getMany(
    family: number,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<Array<Uint8Array | undefined>> {
    const tree = this.treeOf(family, snapshot)
    return keys.map((key) => copyOf(tree.get(key)))
  }

  scan(family: number, options: ScanOptions): EngineIterator {
    const tree = this.treeOf(family, options.snapshot).clone()
    const iterator = new MemoryIterator(tree, options, () => this.open.delete(iterator))
    this.open.add(iterator)
    return iterator
  }

  snapshot(): EngineSnapshot {
    this.assertOpen()
    const trees = new Map<number, Tree>()
    for (const [id, tree] of this.trees) trees.set(id, tree.clone())
    const snapshot = new MemorySnapshot(this.appliedPosition, this.table, trees, this, () => this.open.delete(snapshot))
    this.open.add(snapshot)
    return snapshot
  }

  async readChunk(snapshot: EngineSnapshot, family: number, start: Uint8Array, bytesMax: number): Promise<EngineChunk> {
    return readMemoryChunk(this.treeOf(family, snapshot), start, bytesMax)
  }

  async sizeEstimateBytes(): Promise<number> {
    this.assertOpen()
    let total = 0
    for (const tree of this.trees.values()) {
      const sample = tree.toArray(sampleEntries)
      const bytes = sample.reduce((sum, [key, value]) => sum + key.length + value.length, 0)
      if (sample.length > 0) total += Math.round((bytes / sample.length) * tree.size)
    }
    return total
  }

  async ingest(family: Family, chunk: Uint8Array, progress: Uint8Array): Promise<void> {
    this.assertOpen()
    const entries = [...decodeChunk(chunk)]
    this.table = this.table.including(family)
    const tree = this.trees.get(family.id) ?? newBytesTree<Uint8Array>()
    this.trees.set(family.id, tree)
    for (const [key, value] of entries) tree.set(new Uint8Array(key), new Uint8Array(value))
    this.progress = new Uint8Array(progress)
  }

  async ingestProgress(): Promise<Uint8Array | undefined> {
    this.assertOpen()
    return copyOf(this.progress)
  }

  async finishIngest(position: Position, families: readonly Family[], familyIdNext: number): Promise<void> {
    this.assertOpen()
    this.table = new FamilyTable(families, Math.max(familyIdNext, this.table.idNext))
    for (const id of [...this.trees.keys()]) if (!this.table.has(id)) this.trees.delete(id)
    for (const { id } of families) if (!this.trees.has(id)) this.trees.set(id, newBytesTree())
    this.appliedPosition = position
    this.progress = undefined
  }

  async rewind(keys: readonly RewoundKey[], to: Position): Promise<void> {
    this.assertOpen()
    invariant(this.progress === undefined, 'an engine is rewound only after its ingestion is finished')
    invariant(to.sequence <= this.appliedPosition.sequence, 'an engine is rewound to what it has passed')
    for (const { family, key, value } of keys) {
      const tree = this.trees.get(family)
      if (value === undefined) tree?.delete(key)
      else tree?.set(new Uint8Array(key), new Uint8Array(value))
    }
    this.appliedPosition = to
  }

  async close(): Promise<void> {
    this.isClosed = true
    for (const resource of this.open) resource.end()
    this.open.clear()
    this.trees.clear()
  }

  private treeOf(family: number, snapshot: EngineSnapshot | undefined): Tree {
    this.assertOpen()
    if (snapshot === undefined) {
      this.table.demand(family)
      return demandTree(this.trees, family)
    }
    invariant(snapshot instanceof MemorySnapshot, 'a snapshot is used with the engine that made it')
    if (snapshot.closed || snapshot.owner !== this) throw closedError()
    snapshot.table.demand(family)
    return demandTree(snapshot.trees, family)
  }

  private assertOpen(): void {
    if (this.isClosed) throw closedError()
  }
}

function demandTree(trees: ReadonlyMap<number, Tree>, family: number): Tree {
  const tree = trees.get(family)
  invariant(tree !== undefined, 'every family of the table has a tree')
  return tree
}

/** What is read belongs to the caller, who may write into it. */
function copyOf(value: Uint8Array | undefined): Uint8Array | undefined {
  return value === undefined ? undefined : Buffer.from(value)
}
