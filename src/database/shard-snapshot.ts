import { AbstractSnapshot } from 'abstract-level'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { EngineSnapshot } from '../ports/engine.js'
import type { ReadTicket, ShardHandle } from '../runtime/handle.js'

// The package's types leave out the constructor.
const SnapshotBase = AbstractSnapshot as unknown as new (options: { readonly owner: object }) => AbstractSnapshot

/** A consistent view of all families of a shard. */
export class ShardSnapshot extends SnapshotBase {
  /** What the snapshot holds the fold of: `db.get(key, { minPosition })` on another node sees at least this. */
  readonly position: Position
  readonly #engine: EngineSnapshot
  readonly #shard: ShardHandle
  /** What was read from the snapshot is shown once to be current at the time when it was taken. */
  readonly ticket: ReadTicket

  constructor(options: { readonly owner: object }, shard: ShardHandle, engine: EngineSnapshot, ticket: ReadTicket) {
    super(options)
    this.#shard = shard
    this.#engine = engine
    this.ticket = grantedOnce(ticket)
    this.position = engine.position
  }

  /** The engine's own snapshot behind what users pass as `{ snapshot }`. */
  static engineSnapshot(snapshot: unknown, shard: ShardHandle): EngineSnapshot | undefined {
    const found = ShardSnapshot.of(snapshot, shard)
    return found === undefined ? undefined : found.#engine
  }

  static of(snapshot: unknown, shard: ShardHandle): ShardSnapshot | undefined {
    if (snapshot == null) return undefined
    if (snapshot instanceof ShardSnapshot && snapshot.#shard === shard) return snapshot
    throw new UnderstudyError(
      'BAD_REQUEST',
      'the snapshot is of another database, or of this one before it was reopened',
    )
  }

  async _close(): Promise<void> {
    await this.#engine.close()
  }
}

/** The moment that the ticket is about does not move: granted once, it stays granted. */
function grantedOnce(ticket: ReadTicket): ReadTicket {
  let granted = false
  return {
    get isGranted() {
      granted ||= ticket.isGranted
      return granted
    },
    async granted(options) {
      if (granted) return
      await ticket.granted(options)
      granted = true
    },
  }
}
