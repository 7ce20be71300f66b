/**
 * An engine on a simulated disk: as LevelDB without synced writes, the end of a process keeps everything, and a loss
 * of power what was proven and any number of changes after it, in their order. What the store is, a file in its
 * directory says: the directory may be renamed, lost or wiped as on any disk.
 */

import type { Block, Family } from '../core/entry.js'
import type { Position } from '../core/position.js'
import { memoryEngine } from '../engine/memory.js'
import { UnderstudyError } from '../errors.js'
import type {
  Engine,
  EngineChunk,
  EngineFactory,
  EngineIterator,
  EngineSnapshot,
  EngineState,
  FileCheckpoint,
  RewoundKey,
  ScanOptions,
} from '../ports/engine.js'
import type { FileSystem } from '../ports/file-system.js'
import { checkpointFilesOf, readCheckpoint, writeCheckpoint } from './simulated-checkpoint.js'

/** Hears what an engine folds, before it does and after. */
export interface EngineWatch {
  onApply(applied: Position, blocks: readonly Block[]): void
  /** It has, and whoever reads sees it. */
  onApplied(applied: Position): void
  onRewind(from: Position, to: Position): void
  onInstall(position: Position): void
  /** Its content was brought as files. */
  onFiles(position: Position): void
}

export interface EngineProcess {
  /** Waits as long as an operation takes here; never comes back once the process is gone. */
  pass(operation: 'read' | 'apply' | 'sync'): Promise<void> | undefined
  /** A chunk holds no more, however many were asked for. */
  readonly chunkBytes: number
  /** Whether its content can be had as files. */
  readonly hasFiles: boolean
}

type Change = (engine: Engine) => Promise<void>

class Store {
  readonly changes: Change[] = []
  proven = 0
  checkpointed: Position | undefined
  /** Its first change is what the files say that a bootstrap has put into its directory: they are read at each open. */
  restsOnFiles = false

  prove(position: Position): void {
    this.proven = this.changes.length
    this.checkpointed = position
  }
}

const storeFileName = 'STORE'

/** All stores of one disk. */
export class SimulatedStores {
  private readonly stores = new Map<string, Store>()

  /** Power loss: `keep` says how many of so many unproven changes are there afterwards. */
  losePower(keep: (unproven: number) => number): void {
    for (const store of this.stores.values()) {
      store.changes.length = store.proven + keep(store.changes.length - store.proven)
    }
  }

  factory(files: FileSystem, process: EngineProcess, watch: EngineWatch): EngineFactory {
    return {
      kind: 'level',
      ...(process.hasFiles ? { files: checkpointFilesOf(files) } : {}),
      open: async (directory, empty) => {
        const store = await this.find(files, directory, watch)
        const inner = await memoryEngine.open(directory, empty)
        for (const change of store.changes) await change(inner)
        const engine = new SimulatedEngine(inner, store, process, watch)
        if (process.hasFiles) {
          engine.checkpointFiles = async (target) => {
            await process.pass('sync')
            return writeCheckpoint(inner, files, target, process.chunkBytes)
          }
        }
        return engine
      },
    }
  }

  private async find(files: FileSystem, directory: string, watch: EngineWatch): Promise<Store> {
    const path = files.join(directory, storeFileName)
    if ((await files.stat(path)) !== undefined) {
      const name = Buffer.from(await files.readFile(path, 64)).toString()
      const store = this.stores.get(name)
      if (store?.restsOnFiles) {
        const found = await readCheckpoint(files, directory)
        if (found === undefined)
          throw new UnderstudyError('CORRUPTION', `${directory}: the files of the store are gone`)
        store.changes[0] = found.install
      }
      if (store !== undefined) return store
      // The disk refused the name: the store was never there.
      await files.remove(path)
    }
    const name = String(this.stores.size)
    const store = new Store()
    this.stores.set(name, store)
    await files.makeDirectory(directory)
    // Files that a bootstrap has put in place.
    const checkpoint = await readCheckpoint(files, directory)
    if (checkpoint !== undefined) {
      store.changes.push(checkpoint.install)
      store.prove(checkpoint.position)
      store.restsOnFiles = true
      watch.onFiles(checkpoint.position)
    }
    const file = await files.open(path, 'create')
    await file.write([Buffer.from(name)], 0)
    await file.sync()
    await file.close()
    await files.syncDirectory(directory)
    return store
  }
}

class SimulatedEngine implements Engine {
  readonly kind = 'level'
  readonly volatile = false
  readonly opened: EngineState
  checkpointFiles?: (directory: string) => Promise<FileCheckpoint>
  private readonly inner: Engine
  private readonly store: Store
  private readonly process: EngineProcess
  private readonly watch: EngineWatch

  constructor(inner: Engine, store: Store, process: EngineProcess, watch: EngineWatch) {
    this.inner = inner
    this.store = store
    this.process = process
    this.watch = watch
    this.opened = {
      checkpoint: store.checkpointed,
      applied: store.changes.length === 0 ? undefined : inner.applied,
    }
  }

  get applied(): Position {
    return this.inner.applied
  }

  get families(): readonly Family[] {
    return this.inner.families
  }

  get familyIdNext(): number {
    return this.inner.familyIdNext
  }

  private async change(change: Change): Promise<void> {
    await this.process.pass('apply')
    await change(this.inner)
    this.store.changes.push(change)
  }

  async apply(blocks: readonly Block[]): Promise<void> {
    this.watch.onApply(this.inner.applied, blocks)
    await this.change((engine) => engine.apply(blocks))
    this.watch.onApplied(this.inner.applied)
  }

  async checkpoint(): Promise<Position> {
    // What is applied while the flush runs is not proven by it.
    const position = this.inner.applied
    const count = this.store.changes.length
    await this.process.pass('sync')
    const proven = this.store.checkpointed
    // Rewound meanwhile: what that has proven is lower, and newer.
    if (proven !== undefined && this.inner.applied.sequence < position.sequence) return proven
    this.store.proven = Math.max(this.store.proven, count)
    this.store.checkpointed = position
    return position
  }

  async get(family: number, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    const value = await this.inner.get(family, key, snapshot)
    await this.process.pass('read')
    return value
  }

  async getMany(
    family: number,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<Array<Uint8Array | undefined>> {
    const values = await this.inner.getMany(family, keys, snapshot)
    await this.process.pass('read')
    return values
  }

  scan(family: number, options: ScanOptions): EngineIterator {
    return this.inner.scan(family, options)
  }

  snapshot(): EngineSnapshot {
    return this.inner.snapshot()
  }

  async readChunk(snapshot: EngineSnapshot, family: number, start: Uint8Array, bytesMax: number): Promise<EngineChunk> {
    const chunk = await this.inner.readChunk(snapshot, family, start, Math.min(bytesMax, this.process.chunkBytes))
    await this.process.pass('read')
    return chunk
  }

  sizeEstimateBytes(): Promise<number> {
    return this.inner.sizeEstimateBytes()
  }

  ingest(family: Family, chunk: Uint8Array, progress: Uint8Array): Promise<void> {
    return this.change((engine) => engine.ingest(family, chunk, progress))
  }

  async ingestProgress(): Promise<Uint8Array | undefined> {
    await this.process.pass('read')
    return this.inner.ingestProgress()
  }

  async finishIngest(position: Position, families: readonly Family[], familyIdNext: number): Promise<void> {
    await this.change((engine) => engine.finishIngest(position, families, familyIdNext))
    this.watch.onInstall(position)
    this.store.prove(position)
  }

  async rewind(keys: readonly RewoundKey[], to: Position): Promise<void> {
    this.watch.onRewind(this.inner.applied, to)
    await this.change((engine) => engine.rewind(keys, to))
    this.store.prove(to)
  }

  async close(): Promise<void> {
    await this.inner.close()
  }
}
