import { AbstractSnapshot } from 'abstract-level'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { EngineSnapshot } from '../ports/engine.js'
import type { ShardHandle } from '../runtime/handle.js'

// The package's types leave out the constructor.
const SnapshotBase = AbstractSnapshot as unknown as new (options: { readonly owner: object }) => AbstractSnapshot

/** A consistent view of all families of a shard. */
export class ShardSnapshot extends SnapshotBase {
  /** What the snapshot holds the fold of: `db.get(key, { minPosition })` on another node sees at least this. */
  readonly position: Position
  readonly #engine: EngineSnapshot
  readonly #shard: ShardHandle

  constructor(options: { readonly owner: object }, shard: ShardHandle, engine: EngineSnapshot) {
    super(options)
    this.#shard = shard
    this.#engine = engine
    this.position = engine.position
  }

  /** The engine's own snapshot behind what users pass as `{ snapshot }`. */
  static engineSnapshot(snapshot: unknown, shard: ShardHandle): EngineSnapshot | undefined {
    if (snapshot == null) return undefined
    if (snapshot instanceof ShardSnapshot && snapshot.#shard === shard) return snapshot.#engine
    throw new UnderstudyError(
      'BAD_REQUEST',
      'the snapshot is of another database, or of this one before it was reopened',
    )
  }

  async _close(): Promise<void> {
    await this.#engine.close()
  }
}
