import { decodeChunk } from '../codec/chunk.js'
import { crc32 } from '../codec/digest.js'
import { decodeMessageAndRest, type Message } from '../codec/messages.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { compareBytes, nameOfKey, type TouchedFamily, type TouchedRange } from '../core/rewind.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Engine, RewoundKey } from '../ports/engine.js'

export interface KeyFetcherParts {
  /** A session of purpose `source` with nothing else under way on it. */
  readonly link: Link
  /** The engine that is rewound: its keys in the ranges that are fetched must go too. */
  readonly engine: Engine
  readonly snapshot: Message<'snapshot'>
  readonly onChecksumFailure: () => void
}

/** Fetches what certain keys and ranges are in one snapshot of another node, in several bounded answers. */
export class KeyFetcher {
  private readonly parts: KeyFetcherParts
  private readonly fetched: RewoundKey[] = []
  private bytes = 0

  constructor(parts: KeyFetcherParts) {
    this.parts = parts
  }

  /** Returns a reason instead where it is more than a rewind takes on. */
  async fetch(
    touched: ReadonlyMap<number, TouchedFamily>,
    signal: AbortSignal,
  ): Promise<readonly RewoundKey[] | string> {
    for (const [id, { keys, ranges }] of touched) {
      const own = this.parts.engine.families.find((family) => family.id === id)
      const family = this.parts.snapshot.families.find((one) => one.id === id)
      // Dropped here long ago, or dropped in the other history: then the replay drops it, with all its keys.
      if (own === undefined || family === undefined) continue
      if (own.name !== family.name) return `column family ${id} is ${own.name} here and ${family.name} there`
      const known = new Set<string>()
      for (const range of ranges) {
        await this.fetchRange(family, range, known, signal)
        if (this.isTooMuch) break
      }
      await this.fetchKeys(
        family,
        keys.filter((key) => !known.has(nameOfKey(key))),
        signal,
      )
      if (this.isTooMuch) {
        return `to undo them, more than ${limits.rewindKeysMax} keys or ${limits.rewindBytesMax} bytes had to be fetched`
      }
    }
    return this.fetched
  }

  private get isTooMuch(): boolean {
    return this.fetched.length > limits.rewindKeysMax || this.bytes > limits.rewindBytesMax
  }

  private take(family: Family, key: Uint8Array, value: Uint8Array | undefined): void {
    this.fetched.push({ family: family.id, key, value })
    this.bytes += key.length + (value?.length ?? 0)
  }

  private async fetchKeys(family: Family, keys: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const { link, snapshot } = this.parts
    for (let at = 0; at < keys.length && !this.isTooMuch; ) {
      const asked = pieceOf(keys, at)
      link.send('fetchKeys', { snapshot: snapshot.id, family, keys: asked })
      const [, payload] = await link.expectOneOf(['fetchedKeys'], limits.chunkTimeoutMs, signal)
      const [head, raw] = decodeMessageAndRest('fetchedKeys', payload)
      if (head.snapshot !== snapshot.id || head.family !== family.id) throw this.wrong('keys of something else')
      if (head.answered < 1 || head.answered > asked.length) throw this.wrong(`${head.answered} keys answered`)
      this.check(raw, head.checksum)
      const found = [...decodeChunk(raw)]
      if (found.length !== head.entryCount) throw this.wrong(`${found.length} entries, ${head.entryCount} announced`)
      let next = 0
      for (const key of asked.slice(0, head.answered)) {
        const entry = found[next]
        const exists = entry !== undefined && compareBytes(entry[0], key) === 0
        if (exists) next += 1
        this.take(family, key, exists ? entry[1] : undefined)
      }
      if (next !== found.length) throw this.wrong('a key that was not asked for')
      at += head.answered
    }
  }

  /** Everything in the range as it is there, and what is here and not there as absent. */
  private async fetchRange(
    family: Family,
    range: TouchedRange,
    known: Set<string>,
    signal: AbortSignal,
  ): Promise<void> {
    const { link, engine, snapshot } = this.parts
    let start: Uint8Array | undefined = range.start
    while (start !== undefined && compareBytes(start, range.end) < 0 && !this.isTooMuch) {
      link.send('chunkRequest', { snapshot: snapshot.id, family, start, bytesMax: limits.scanBytes })
      const [, payload] = await link.expectOneOf(['chunk'], limits.chunkTimeoutMs, signal)
      const [chunk, raw] = decodeMessageAndRest('chunk', payload)
      if (chunk.snapshot !== snapshot.id || chunk.family !== family.id) throw this.wrong('a chunk of something else')
      this.check(raw, chunk.checksum)
      for (const [key, value] of decodeChunk(raw)) {
        const name = nameOfKey(key)
        if (compareBytes(key, range.end) >= 0 || known.has(name)) continue
        known.add(name)
        this.take(family, key, value)
      }
      start = chunk.nextKey
    }
    const iterator = engine.scan(family.id, { start: range.start, end: range.end, values: false })
    try {
      for (;;) {
        const entries = await iterator.next(limits.scanEntriesMax)
        if (entries.length === 0 || this.isTooMuch) return
        for (const [key] of entries) {
          const name = nameOfKey(key)
          if (known.has(name)) continue
          known.add(name)
          this.take(family, key, undefined)
        }
      }
    } finally {
      await iterator.close()
    }
  }

  private check(raw: Uint8Array, expected: number): void {
    const checksum = crc32(raw)
    if (checksum === expected) return
    this.parts.onChecksumFailure()
    throw this.wrong(`expected checksum ${expected}, found ${checksum}`)
  }

  private wrong(what: string): UnderstudyError {
    return new UnderstudyError('PROTOCOL', `${this.parts.link.remote}: ${what}`)
  }
}

/** Keys from `at` on that one request may hold, at least one. */
function pieceOf(keys: readonly Uint8Array[], at: number): readonly Uint8Array[] {
  let end = at
  let bytes = 0
  while (end < keys.length && end - at < limits.fetchKeysMax && bytes < limits.fetchKeyBytes) {
    bytes += keys[end]!.length
    end += 1
  }
  return keys.slice(at, end)
}
