import { type AbstractDatabaseOptions, AbstractLevel } from 'abstract-level'
import { asBuffer } from '../codec/block.js'
import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { EngineSnapshot, ScanOptions } from '../ports/engine.js'
import type { Consistency, ReadTicket, ShardHandle } from '../runtime/handle.js'
import { FamilyChainedBatch } from './chained-batch.js'
import { EntryFeed } from './entry-feed.js'
import { EntryIterator, KeyIterator, ValueIterator } from './iterators.js'
import { LevelBase } from './level-base.js'
import { assertBatch, delOperation, putOperation } from './operations.js'
import {
  consistencyOf,
  freshnessOf,
  type ReadOptions,
  type WriteCallOptions,
  waitOf,
  writeOptionsOf,
} from './options.js'
import { keyRangeOf, type RangeCall } from './ranges.js'
import { ShardSnapshot } from './shard-snapshot.js'

/** What abstract-level hands to the methods that begin with an underscore. */
interface ReadCall extends ReadOptions {
  readonly snapshot?: unknown
}

interface ScanCall extends ReadCall, RangeCall {
  readonly reverse: boolean
  readonly limit: number
  readonly keys?: boolean
  readonly values?: boolean
}

interface ClearCall extends ScanCall, WriteCallOptions {}

export interface BatchCall {
  readonly type: 'put' | 'del'
  readonly key: Uint8Array
  readonly value?: Uint8Array
  /** Set where the operation is not for this database: for a family, or for a sublevel of one. */
  readonly sublevel?: unknown
}

export type Supports = ConstructorParameters<typeof AbstractLevel>[0]

/** Bytes below, whatever the encodings above: strings are transcoded by abstract-level, fastest by way of Buffer. */
export const supports: Supports = {
  encodings: { buffer: true },
  has: true,
  seek: true,
  permanence: true,
  implicitSnapshots: true,
  explicitSnapshots: true,
  signals: { iterators: true },
}

/** One family of a shard as an abstract-level database. */
export abstract class ShardLevel<K, V> extends LevelBase<K, V> {
  #shard: ShardHandle | undefined
  #family = 0
  #forwardWrites = true

  constructor(manifest: Supports, options: AbstractDatabaseOptions<K, V>) {
    super(manifest, options)
  }

  /** The shard of an open database. */
  get shard(): ShardHandle {
    if (this.#shard === undefined) throw new UnderstudyError('CLOSED', 'the database is not open')
    return this.#shard
  }

  /** Shared by all databases that can be written together. */
  abstract get root(): object

  protected attach(shard: ShardHandle, family: number, forwardWrites: boolean): void {
    this.#shard = shard
    this.#family = family
    this.#forwardWrites = forwardWrites
  }

  protected detach(): void {
    this.#shard = undefined
  }

  protected get forwardWrites(): boolean {
    return this.#forwardWrites
  }

  async _get(key: Uint8Array, options: ReadCall): Promise<Buffer | undefined> {
    const freshness = freshnessOf(options)
    if (freshness !== undefined) await this.shard.fresh(freshness)
    const ticket = this.#beginRead(options)
    const value = await this.shard.reader().get(this.#family, key, this.#snapshotOf(options))
    if (!ticket.isGranted) await ticket.granted(waitOf(options))
    return value === undefined ? undefined : asBuffer(value)
  }

  async _getMany(keys: Uint8Array[], options: ReadCall): Promise<Array<Buffer | undefined>> {
    const freshness = freshnessOf(options)
    if (freshness !== undefined) await this.shard.fresh(freshness)
    const ticket = this.#beginRead(options)
    const values = await this.shard.reader().getMany(this.#family, keys, this.#snapshotOf(options))
    if (!ticket.isGranted) await ticket.granted(waitOf(options))
    return values.map((value) => (value === undefined ? undefined : asBuffer(value)))
  }

  async _has(key: Uint8Array, options: ReadCall): Promise<boolean> {
    return (await this._get(key, options)) !== undefined
  }

  async _hasMany(keys: Uint8Array[], options: ReadCall): Promise<boolean[]> {
    return (await this._getMany(keys, options)).map((value) => value !== undefined)
  }

  _put(key: Uint8Array, value: Uint8Array, options: WriteCallOptions): Promise<unknown> {
    return this.#write([putOperation(this.#family, key, value)], options)
  }

  _del(key: Uint8Array, options: WriteCallOptions): Promise<unknown> {
    return this.#write([delOperation(this.#family, key)], options)
  }

  async _batch(calls: readonly BatchCall[], options: WriteCallOptions): Promise<void> {
    const operations: Operation[] = []
    for (const call of calls) operations.push(this.#operationOf(call))
    assertBatch(operations)
    await this.#write(operations, options)
  }

  async _clear(options: ClearCall): Promise<void> {
    const { limit, reverse } = options
    const snapshot = this.#snapshotOf(options)
    if (snapshot !== undefined) {
      await this.#clearSeen(options, snapshot)
      return
    }
    const request = { family: this.#family, ...keyRangeOf(options), reverse, ...(limit < 0 ? {} : { limit }) }
    await this.shard.clear(request, writeOptionsOf(options, this.#forwardWrites))
  }

  _iterator(options: ScanCall): EntryIterator<K, V> {
    return new EntryIterator(
      this,
      options as never,
      this.#feed(options, options.keys !== false, options.values !== false),
    )
  }

  _keys(options: ScanCall): KeyIterator<K, V> {
    return new KeyIterator(this, options as never, this.#feed(options, true, false))
  }

  _values(options: ScanCall): ValueIterator<K, V> {
    return new ValueIterator(this, options as never, this.#feed(options, false, true))
  }

  _snapshot(options: { readonly owner: object; readonly consistency?: Consistency }): ShardSnapshot {
    const ticket = this.shard.beginRead(consistencyOf(options))
    // Taken first: what cannot be taken must not be left behind as something to close.
    const engine = this.shard.reader().snapshot()
    return new ShardSnapshot(options, this.shard, engine, ticket)
  }

  _chainedBatch(): FamilyChainedBatch<K, V> {
    return new FamilyChainedBatch(this)
  }

  #write(operations: readonly Operation[], options: WriteCallOptions): Promise<unknown> {
    return this.shard.write(operations, writeOptionsOf(options, this.#forwardWrites))
  }

  #snapshotOf(options: ReadCall): EngineSnapshot | undefined {
    return ShardSnapshot.engineSnapshot(options.snapshot, this.shard)
  }

  /** A snapshot was current when it was taken, or was not: that is looked at with the first read from it. */
  #beginRead(options: ReadCall): ReadTicket {
    const consistency = consistencyOf(options)
    const snapshot = ShardSnapshot.of(options.snapshot, this.shard)
    if (snapshot === undefined || consistency === 'local') return this.shard.beginRead(consistency)
    if (consistency === undefined) return snapshot.ticket
    throw new UnderstudyError('BAD_REQUEST', `a read from a snapshot cannot be made ${consistency}`, {
      hint: 'say it when the snapshot is taken: db.snapshot({ consistency })',
    })
  }

  #feed(options: ScanCall, keys: boolean, values: boolean): EntryFeed {
    const { shard } = this
    const freshness = freshnessOf(options)
    const snapshot = this.#snapshotOf(options)
    const scan: ScanOptions = {
      ...keyRangeOf(options),
      reverse: options.reverse,
      keys,
      values,
      ...(snapshot === undefined ? {} : { snapshot }),
    }
    const family = this.#family
    const open = () => shard.reader().scan(family, scan)
    const fresh = freshness === undefined ? undefined : () => shard.fresh(freshness)
    // The view is that of this moment, unless a snapshot fixes it (which may be closed: then the first read tells) or
    // a later one is asked for.
    const late = snapshot !== undefined || fresh !== undefined
    return new EntryFeed({
      open,
      begin: () => this.#beginRead(options),
      limit: options.limit,
      wait: waitOf(options),
      fresh,
      late,
    })
  }

  /** `sublevel` survives only where abstract-level found it not to be below this database: a family, or in one. */
  #operationOf(call: BatchCall): Operation {
    let { key } = call
    let target: unknown = call.sublevel ?? this
    while (target instanceof AbstractLevel && !(target instanceof ShardLevel)) {
      key = target.prefixKey(asBuffer(key), 'buffer', true)
      target = (target as { readonly parent?: unknown }).parent
    }
    if (!(target instanceof ShardLevel) || target.root !== this.root) {
      throw new UnderstudyError('BAD_REQUEST', 'a batch spans the families of one database, not several databases')
    }
    // Also throws if a family was not opened yet.
    if (target.shard !== this.shard) throw new UnderstudyError('CLOSED', 'a family of the batch is not open')
    if (call.type === 'del') return delOperation(target.#family, key)
    return putOperation(target.#family, key, call.value ?? new Uint8Array(0))
  }

  /** Deletes what a snapshot saw, whatever was written since; in pieces, each of which is atomic. */
  async #clearSeen(options: ClearCall, snapshot: EngineSnapshot): Promise<void> {
    const { limit, reverse } = options
    const scan = { ...keyRangeOf(options), reverse, limit, values: false, snapshot }
    const iterator = this.shard.reader().scan(this.#family, scan)
    try {
      for (;;) {
        const entries = await iterator.next(limits.clearPieceKeysMax)
        if (entries.length === 0) return
        await this.#write(
          entries.map(([key]) => delOperation(this.#family, key)),
          options,
        )
      }
    } finally {
      await iterator.close()
    }
  }
}
