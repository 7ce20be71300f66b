import {
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractKeyIterator,
  type AbstractKeyIteratorOptions,
  AbstractValueIterator,
  type AbstractValueIteratorOptions,
} from 'abstract-level'
import type { EntryFeed } from './entry-feed.js'
import type { ShardLevel } from './shard-level.js'

// abstract-level counts, decodes and guards against concurrent calls; these pass on what a feed has.

export class EntryIterator<K, V> extends AbstractIterator<ShardLevel<K, V>, K, V> {
  readonly #feed: EntryFeed

  constructor(db: ShardLevel<K, V>, options: AbstractIteratorOptions<K, V>, feed: EntryFeed) {
    super(db, options)
    this.#feed = feed
  }

  _next(): unknown {
    return this.#feed.next()
  }

  _nextv(size: number): Promise<unknown[]> {
    return this.#feed.nextv(size)
  }

  _seek(target: Uint8Array): void {
    this.#feed.seek(target)
  }

  _close(): Promise<void> {
    return this.#feed.close()
  }
}

export class KeyIterator<K, V> extends AbstractKeyIterator<ShardLevel<K, V>, K> {
  readonly #feed: EntryFeed

  constructor(db: ShardLevel<K, V>, options: AbstractKeyIteratorOptions<K>, feed: EntryFeed) {
    super(db, options)
    this.#feed = feed
  }

  _next(): unknown {
    const entry = this.#feed.next()
    return entry instanceof Promise ? entry.then(firstOf) : firstOf(entry)
  }

  async _nextv(size: number): Promise<unknown[]> {
    return (await this.#feed.nextv(size)).map(firstOf)
  }

  _seek(target: Uint8Array): void {
    this.#feed.seek(target)
  }

  _close(): Promise<void> {
    return this.#feed.close()
  }
}

export class ValueIterator<K, V> extends AbstractValueIterator<ShardLevel<K, V>, K, V> {
  readonly #feed: EntryFeed

  constructor(db: ShardLevel<K, V>, options: AbstractValueIteratorOptions<K, V>, feed: EntryFeed) {
    super(db, options)
    this.#feed = feed
  }

  _next(): unknown {
    const entry = this.#feed.next()
    return entry instanceof Promise ? entry.then(secondOf) : secondOf(entry)
  }

  async _nextv(size: number): Promise<unknown[]> {
    return (await this.#feed.nextv(size)).map(secondOf)
  }

  _seek(target: Uint8Array): void {
    this.#feed.seek(target)
  }

  _close(): Promise<void> {
    return this.#feed.close()
  }
}

function firstOf(entry: [Buffer, Buffer] | undefined): Buffer | undefined {
  return entry?.[0]
}

function secondOf(entry: [Buffer, Buffer] | undefined): Buffer | undefined {
  return entry?.[1]
}
