import { AbstractChainedBatch, type AbstractLevel } from 'abstract-level'
import { UnderstudyError } from '../errors.js'
import type { WriteCallOptions } from './options.js'
import type { BatchCall, ShardLevel } from './shard-level.js'

interface ChainedOptions {
  readonly sublevel?: unknown
}

export class FamilyChainedBatch<K, V> extends AbstractChainedBatch<ShardLevel<K, V>, K, V> {
  #calls: BatchCall[] = []

  // biome-ignore lint/suspicious/noExplicitAny: options of any encodings, as in abstract-level
  override del(key: any, options?: any): this {
    const sublevel = (options as ChainedOptions | undefined)?.sublevel
    // abstract-level loses the sublevel here if it is not below this database (it does not for put), and the key
    // would be deleted from the wrong family.
    if (sublevel != null && !isBelow(sublevel as Descendant, this.db)) {
      throw new UnderstudyError('BAD_REQUEST', 'del() of a chained batch cannot reach into another family', {
        hint: "use the array form: db.batch([{ type: 'del', sublevel: family, key }])",
      })
    }
    return super.del(key, options)
  }

  _put(key: Uint8Array, value: Uint8Array, options: ChainedOptions): void {
    this.#calls.push({ type: 'put', key: Buffer.from(key), value: Buffer.from(value), sublevel: options.sublevel })
  }

  _del(key: Uint8Array): void {
    this.#calls.push({ type: 'del', key: Buffer.from(key) })
  }

  _clear(): void {
    this.#calls = []
  }

  _write(options: WriteCallOptions): Promise<void> {
    return this.db._batch(this.#calls, options)
  }
}

// biome-ignore lint/suspicious/noExplicitAny: any database of abstract-level
type Descendant = AbstractLevel<any, any, any> & { readonly parent?: Descendant | null }

function isBelow(sublevel: Descendant, db: unknown): boolean {
  for (let parent: Descendant | null | undefined = sublevel; parent != null; parent = parent.parent) {
    if (parent === db) return true
  }
  return false
}
