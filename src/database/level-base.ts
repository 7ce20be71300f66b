import {
  type AbstractBatchDelOperation,
  type AbstractBatchOptions,
  type AbstractBatchPutOperation,
  type AbstractChainedBatch,
  type AbstractClearOptions,
  type AbstractDelOptions,
  type AbstractGetManyOptions,
  type AbstractGetOptions,
  type AbstractHasManyOptions,
  type AbstractHasOptions,
  type AbstractIterator,
  type AbstractIteratorOptions,
  type AbstractKeyIterator,
  type AbstractKeyIteratorOptions,
  AbstractLevel,
  type AbstractPutOptions,
  type AbstractValueIterator,
  type AbstractValueIteratorOptions,
} from 'abstract-level'
import type { Consistency } from '../runtime/handle.js'
import type { ReadOptions, WriteCallOptions } from './options.js'
import type { ShardSnapshot } from './shard-snapshot.js'

/** Where an operation of a batch goes: a family, a sublevel, or a sublevel of a family. */
// biome-ignore lint/suspicious/noExplicitAny: a batch may span databases of any types
type Target = { sublevel?: AbstractLevel<any, any, any> | undefined }

/** An operation of a batch, which may be for another family: `{ type: 'put', sublevel: users, key, value }`. */
export type BatchOperation<K, V> =
  | (Omit<AbstractBatchPutOperation<unknown, K, V>, 'sublevel'> & Target)
  | (Omit<AbstractBatchDelOperation<unknown, K>, 'sublevel'> & Target)

/** Methods of abstract-level with the options of this package. */
interface OwnMethods<K, V> {
  close(): Promise<void>

  get(key: K): Promise<V | undefined>
  get<K2 = K, V2 = V>(key: K2, options: AbstractGetOptions<K2, V2> & ReadOptions): Promise<V2 | undefined>

  getMany(keys: K[]): Promise<Array<V | undefined>>
  getMany<K2 = K, V2 = V>(
    keys: K2[],
    options: AbstractGetManyOptions<K2, V2> & ReadOptions,
  ): Promise<Array<V2 | undefined>>

  has(key: K): Promise<boolean>
  has<K2 = K>(key: K2, options: AbstractHasOptions<K2> & ReadOptions): Promise<boolean>

  hasMany(keys: K[]): Promise<boolean[]>
  hasMany<K2 = K>(keys: K2[], options: AbstractHasManyOptions<K2> & ReadOptions): Promise<boolean[]>

  put(key: K, value: V): Promise<void>
  put<K2 = K, V2 = V>(key: K2, value: V2, options: AbstractPutOptions<K2, V2> & WriteCallOptions): Promise<void>

  del(key: K): Promise<void>
  del<K2 = K>(key: K2, options: AbstractDelOptions<K2> & WriteCallOptions): Promise<void>

  batch(operations: Array<BatchOperation<K, V>>): Promise<void>
  batch<K2 = K, V2 = V>(
    operations: Array<BatchOperation<K2, V2>>,
    options: AbstractBatchOptions<K2, V2> & WriteCallOptions,
  ): Promise<void>
  batch(): AbstractChainedBatch<this, K, V>

  clear(): Promise<void>
  clear<K2 = K>(options: AbstractClearOptions<K2> & WriteCallOptions): Promise<void>

  iterator(): AbstractIterator<this, K, V>
  iterator<K2 = K, V2 = V>(options: AbstractIteratorOptions<K2, V2> & ReadOptions): AbstractIterator<this, K2, V2>

  keys(): AbstractKeyIterator<this, K>
  keys<K2 = K>(options: AbstractKeyIteratorOptions<K2> & ReadOptions): AbstractKeyIterator<this, K2>

  values(): AbstractValueIterator<this, K, V>
  values<K2 = K, V2 = V>(
    options: AbstractValueIteratorOptions<K2, V2> & ReadOptions,
  ): AbstractValueIterator<this, K2, V2>

  snapshot(options?: { readonly consistency?: Consistency | undefined }): ShardSnapshot
}

/** A database of abstract-level whose methods take the options of this package: types only. */
export interface LevelBase<K, V> extends Omit<AnyLevel<K, V>, keyof OwnMethods<K, V>>, OwnMethods<K, V> {}

type AnyLevel<K, V> = AbstractLevel<Buffer | Uint8Array, K, V>

/**
 * abstract-level itself: it passes options that it does not know on to the methods that implement it, but its types
 * do not know them.
 */
export const LevelBase = AbstractLevel as unknown as abstract new <K, V>(
  ...parameters: ConstructorParameters<typeof AbstractLevel<Buffer | Uint8Array, K, V>>
) => LevelBase<K, V>
