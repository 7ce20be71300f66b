import type { AbstractDatabaseOptions, AbstractResource } from 'abstract-level'
import { UnderstudyError } from '../errors.js'
import type { ShardHandle } from '../runtime/handle.js'
import { ShardLevel, supports } from './shard-level.js'

/**
 * A column family as a database of its own: `db.family('users')`. It opens with its root and closes with it. The
 * handle is bound to the family that has the name when it opens; after a drop its operations fail.
 */
export class FamilyLevel<K = string, V = string> extends ShardLevel<K, V> {
  readonly name: string
  readonly #root: FamilyRoot

  constructor(root: FamilyRoot, name: string, options: AbstractDatabaseOptions<K, V> = {}) {
    super(supports, options)
    this.#root = root
    this.name = name
  }

  get root(): FamilyRoot {
    return this.#root
  }

  async _open(): Promise<void> {
    const root = this.#root
    await root.open({ passive: true })
    const { shard } = root
    const found = shard.reader().families.find(({ name }) => name === this.name)
    if (found === undefined) {
      throw new UnderstudyError('UNKNOWN_FAMILY', `there is no family "${this.name}"`, {
        hint: `create it once: await db.createFamily('${this.name}')`,
      })
    }
    this.attach(shard, found.id, root.writesAreForwarded)
    root.attachResource(this)
  }

  async _close(): Promise<void> {
    this.#root.detachResource(this)
    this.detach()
  }
}

/** What a family needs of the database that it belongs to. */
export interface FamilyRoot {
  readonly shard: ShardHandle
  readonly writesAreForwarded: boolean
  open(options: { readonly passive: boolean }): Promise<void>
  attachResource(resource: AbstractResource): void
  detachResource(resource: AbstractResource): void
}
