import { isUtf8 } from 'node:buffer'
import { Readable } from 'node:stream'
import { limits } from '../core/limits.js'
import type { EngineIterator, EngineSnapshot, KeyRange, ScanOptions } from '../ports/engine.js'
import type { EngineReader } from '../runtime/handle.js'
import { badRequest } from './http-error.js'
import { booleanParameter, checkKey, integerParameter, type Query } from './request.js'

export const rangeParameters = ['gte', 'gt', 'lte', 'lt', 'prefix', 'limit', 'reverse'] as const

/** Bounds of a query; a prefix and bounds together mean what lies in both. */
export function parseRange(query: Query): Omit<ScanOptions, 'snapshot'> {
  for (const name of ['gte', 'gt', 'lte', 'lt', 'prefix']) {
    const value = query.get(name)
    if (value !== undefined) checkKey(value, `query parameter "${name}"`)
  }
  const limit = integerParameter(query, 'limit', 1, limits.rangeLimitMax)
  const reverse = booleanParameter(query, 'reverse')
  return {
    ...lower(query),
    ...upper(query),
    ...(limit === undefined ? {} : { limit }),
    ...(reverse === undefined ? {} : { reverse }),
  }
}

function lower(query: Query): Pick<KeyRange, 'start' | 'startOpen'> {
  const gte = query.get('gte')
  const gt = query.get('gt')
  if (gte !== undefined && gt !== undefined) throw badRequest('gte and gt exclude each other')
  const bound = gt ?? gte
  const prefix = query.get('prefix')
  if (bound === undefined) return prefix === undefined ? {} : { start: prefix }
  if (prefix !== undefined && Buffer.compare(prefix, bound) > 0) return { start: prefix }
  return { start: bound, ...(gt === undefined ? {} : { startOpen: true }) }
}

function upper(query: Query): Pick<KeyRange, 'end' | 'endClosed'> {
  const lte = query.get('lte')
  const lt = query.get('lt')
  if (lte !== undefined && lt !== undefined) throw badRequest('lte and lt exclude each other')
  const bound = lt ?? lte
  const prefixEnd = successor(query.get('prefix'))
  if (bound === undefined) return prefixEnd === undefined ? {} : { end: prefixEnd }
  if (prefixEnd !== undefined && Buffer.compare(prefixEnd, bound) <= 0) return { end: prefixEnd }
  return { end: bound, ...(lte === undefined ? {} : { endClosed: true }) }
}

/** The first key after all that begin with `prefix`; undefined when there is none (only 0xff). */
function successor(prefix: Buffer | undefined): Buffer | undefined {
  if (prefix === undefined) return undefined
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1
  if (length === 0) return undefined
  const next = Buffer.from(prefix.subarray(0, length))
  next[length - 1]! += 1
  return next
}

/**
 * A range as NDJSON, pulled by the connection: a slow reader slows the scan, and nothing gathers. Owns its snapshot,
 * and frees it however the stream ends, also before the first read.
 */
export class RangeStream extends Readable {
  readonly #snapshot: EngineSnapshot
  readonly #iterator: EngineIterator
  /** Begins small: nothing is known yet about how large the values are. */
  #size = 4
  #reading: Promise<void> = Promise.resolve()
  readonly #stall: NodeJS.Timeout

  constructor(
    reader: EngineReader,
    snapshot: EngineSnapshot,
    family: number,
    options: ScanOptions,
    stallMs: number = limits.httpStallTimeoutMs,
  ) {
    super({ highWaterMark: limits.rangePieceBytes })
    // A reader that takes a byte now and then would hold the snapshot, and the space of all that is overwritten.
    this.#stall = setTimeout(() => this.destroy(new Error('the range was not read on')), stallMs)
    this.#snapshot = snapshot
    this.#iterator = reader.scan(family, { ...options, snapshot })
  }

  override _read(): void {
    this.#stall.refresh()
    this.#reading = this.#readPiece().catch((error: unknown) => {
      this.destroy(error as Error)
    })
  }

  async #readPiece(): Promise<void> {
    const entries = await this.#iterator.next(this.#size)
    if (this.destroyed) return
    if (entries.length === 0) {
      this.push(null)
      return
    }
    const piece = Buffer.from(entries.map(formatEntry).join(''))
    const wanted = Math.floor((limits.rangePieceBytes * entries.length) / piece.length)
    this.#size = Math.min(Math.max(wanted, 1), this.#size * 4, limits.rangePieceEntriesMax)
    this.push(piece)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#stall)
    this.#free().then(
      () => callback(error),
      (failed: unknown) => callback(error ?? (failed as Error)),
    )
  }

  async #free(): Promise<void> {
    await this.#reading
    await this.#iterator.close()
    await this.#snapshot.close()
  }
}

/** Text where the bytes are UTF-8, base64 under another name where they are not: never ambiguous. */
function formatEntry([key, value]: readonly [Uint8Array, Uint8Array]): string {
  return `{${field('key', key)},${field('value', value)}}\n`
}

function field(name: string, bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer)
    ? `"${name}":${JSON.stringify(buffer.toString())}`
    : `"${name}Base64":"${buffer.toString('base64')}"`
}
