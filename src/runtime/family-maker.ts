import type { Family, Operation, Origin } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { Engine } from '../ports/engine.js'
import type { WriteOptions } from './handle.js'
import type { WriteQueue } from './write-queue.js'

/** Creates and drops column families as the primary: the one place where their ids are handed out (S8). */
export class FamilyMaker {
  private readonly engine: Engine
  private readonly queue: WriteQueue
  /** Families whose creation was submitted and is not visible yet: asked for again, they keep their id. */
  private readonly underWay = new Map<string, number>()
  private idFloor: number
  private turn: Promise<unknown> = Promise.resolve()

  /**
   * `epochNumber`: each epoch begins with ids of its own. An epoch whose end was lost (durability `local`, a forced
   * promotion) may have given ids that this engine knows nothing of, to families that others still hold by their id.
   */
  constructor(engine: Engine, queue: WriteQueue, epochNumber: number) {
    this.engine = engine
    this.queue = queue
    this.idFloor = Math.min((epochNumber - 1) * limits.familyIdsPerEpoch, limits.familyIdsOfEpochsMax)
  }

  /** Ids come from the engine's table and the creations before; one at a time, so that none is given twice. */
  create(name: string, origin: Origin, request: number, options: WriteOptions): Promise<Family> {
    return this.inTurn(async () => {
      const { engine } = this
      const existing = engine.families.find((family) => family.name === name)
      if (existing !== undefined) {
        this.underWay.delete(name)
        return existing
      }
      if (engine.families.length >= limits.familiesMax) {
        throw new UnderstudyError(
          'LIMIT_EXCEEDED',
          `${engine.families.length} column families exist; that is the limit`,
        )
      }
      // An id that was handed out stays used, and stays that of its name while its entry may still commit.
      const known = this.underWay.get(name)
      const id = known ?? Math.max(engine.familyIdNext, this.idFloor)
      this.idFloor = Math.max(this.idFloor, id + 1)
      this.underWay.set(name, id)
      try {
        await this.queue.submit([{ type: 'createFamily', family: id, name }], origin, request, options)
      } catch (error) {
        // It never comes. Appended after a higher id, this one would be skipped as one that was seen before. But what was
        // submitted under this id before may still commit.
        const neverComes = error instanceof UnderstudyError && error.outcome === 'none'
        if (neverComes && known === undefined) this.underWay.delete(name)
        throw error
      }
      this.underWay.delete(name)
      return { id, name }
    })
  }

  drop(id: number, origin: Origin, request: number, options: WriteOptions): Promise<void> {
    return this.inTurn(async () => {
      for (const [name, known] of this.underWay) if (known === id) this.underWay.delete(name)
      if (id === 0) throw new UnderstudyError('BAD_REQUEST', 'the default family cannot be dropped')
      await this.queue.submit([{ type: 'dropFamily', family: id }], origin, request, options)
    })
  }

  /** The error for a write that names a family which does not exist. */
  unknownIn(operations: readonly Operation[]): UnderstudyError | undefined {
    const { families } = this.engine
    for (const operation of operations) {
      if (operation.family === 0 || families.some((family) => family.id === operation.family)) continue
      return new UnderstudyError('UNKNOWN_FAMILY', `there is no column family with id ${operation.family}`)
    }
    return undefined
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work)
    this.turn = result.catch(() => undefined)
    return result
  }
}
