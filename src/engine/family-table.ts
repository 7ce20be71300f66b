import { defaultFamily, type Family, type Operation } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { UnderstudyError } from '../errors.js'

/** The families of a store and the next id. Changed only by journaled operations, the same way on every node. */
export class FamilyTable {
  readonly families: readonly Family[]
  readonly idNext: number
  private readonly ids: ReadonlySet<number>

  constructor(families: readonly Family[] = [defaultFamily], idNext = 1) {
    this.families = families
    this.idNext = Math.max(idNext, ...families.map(({ id }) => id + 1))
    this.ids = new Set(families.map(({ id }) => id))
  }

  has(id: number): boolean {
    return this.ids.has(id)
  }

  /** For reads: a family that was dropped has no content, which is not the same as being empty. */
  demand(id: number): void {
    if (this.ids.has(id)) return
    throw new UnderstudyError(
      'UNKNOWN_FAMILY',
      id < this.idNext ? `family ${id} was dropped` : `there is no family ${id}`,
    )
  }

  /** The same table if the operation changes nothing: an id seen before was created, and maybe dropped, later on. */
  with(operation: Operation): FamilyTable {
    if (operation.type === 'createFamily') {
      if (operation.family < this.idNext) return this
      return new FamilyTable([...this.families, { id: operation.family, name: operation.name }], operation.family + 1)
    }
    if (operation.type === 'dropFamily') {
      invariant(operation.family !== defaultFamily.id, 'the default family is never dropped')
      if (!this.ids.has(operation.family)) return this
      return new FamilyTable(
        this.families.filter(({ id }) => id !== operation.family),
        this.idNext,
      )
    }
    return this
  }

  /** With a family that a snapshot brings: ids come in any order there. */
  including(family: Family): FamilyTable {
    if (this.ids.has(family.id)) return this
    return new FamilyTable([...this.families, family], this.idNext)
  }
}
