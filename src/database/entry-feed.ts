import { asBuffer } from '../codec/block.js'
import { limits } from '../core/limits.js'
import type { EngineIterator } from '../ports/engine.js'
import type { ReadTicket, WaitOptions } from '../runtime/handle.js'

type Entry = [Buffer, Buffer]

const none: readonly Entry[] = []
/** The first step is small, as often only the first entries are wanted; each further one is larger by this factor. */
const firstStep = 8
const stepFactor = 8

/** What abstract-level throws where a signal ends an iterator; it does not export the class. */
class AbortedRead extends Error {
  override readonly name = 'AbortError'
  readonly code = 'LEVEL_ABORTED'

  constructor(cause: unknown) {
    super('Operation has been aborted', { cause })
  }
}

/** Reads ahead of an iterator's caller in steps that grow, so that few entries cost little and many come fast. */
export class EntryFeed {
  private readonly open: () => EngineIterator
  private readonly begin: () => ReadTicket
  private readonly limit: number
  private readonly wait: WaitOptions
  /** Until the first entries were read and shown to be current: all others are of the same moment. */
  private ticket: ReadTicket | undefined
  /** Waits for the asked-for freshness before the engine's iterator is made. */
  private fresh: (() => Promise<void>) | undefined
  private source: EngineIterator | undefined
  private seekTarget: Uint8Array | undefined
  private cache: readonly Entry[] = none
  private at = 0
  private step = firstStep

  constructor(parts: {
    readonly open: () => EngineIterator
    /** Called right before `open`: what the view must be shown to be. */
    readonly begin: () => ReadTicket
    readonly limit: number
    readonly wait: WaitOptions
    readonly fresh: (() => Promise<void>) | undefined
    readonly late: boolean
  }) {
    this.open = parts.open
    this.begin = parts.begin
    this.limit = parts.limit < 0 ? Number.POSITIVE_INFINITY : parts.limit
    this.wait = parts.wait
    this.fresh = parts.fresh
    if (!parts.late) this.openNow()
  }

  private get signal(): AbortSignal | undefined {
    return this.wait.signal
  }

  /** Without a promise where an entry is at hand. */
  next(): Entry | undefined | Promise<Entry | undefined> {
    return this.at < this.cache.length ? this.cache[this.at++] : this.refill()
  }

  async nextv(size: number): Promise<Entry[]> {
    if (this.at < this.cache.length) {
      const entries = this.cache.slice(this.at, this.at + size)
      this.at += entries.length
      return entries
    }
    return this.read(size)
  }

  seek(target: Uint8Array): void {
    this.cache = none
    this.at = 0
    this.step = firstStep
    if (this.source === undefined) this.seekTarget = Buffer.from(target)
    else this.source.seek(target)
  }

  async close(): Promise<void> {
    this.cache = none
    this.at = 0
    await this.source?.close()
  }

  private async refill(): Promise<Entry | undefined> {
    const size = Math.min(this.step, this.limit)
    this.step = Math.min(this.step * stepFactor, limits.scanEntriesMax)
    this.cache = await this.read(size)
    this.at = 1
    return this.cache[0]
  }

  private async read(size: number): Promise<Entry[]> {
    try {
      const source = this.source ?? (await this.openLate())
      const entries = await source.next(size)
      if (this.ticket !== undefined) {
        if (!this.ticket.isGranted) await this.ticket.granted(this.wait)
        this.ticket = undefined
      }
      if (this.signal?.aborted !== true) {
        for (const entry of entries) {
          entry[0] = asBuffer(entry[0])
          entry[1] = asBuffer(entry[1])
        }
        return entries as Entry[]
      }
    } catch (error) {
      if (this.signal?.aborted !== true) throw error
      throw new AbortedRead(error)
    }
    throw new AbortedRead(this.signal.reason)
  }

  private async openLate(): Promise<EngineIterator> {
    await this.fresh?.()
    this.fresh = undefined
    const source = this.openNow()
    if (this.seekTarget !== undefined) source.seek(this.seekTarget)
    this.seekTarget = undefined
    return source
  }

  private openNow(): EngineIterator {
    this.ticket = this.begin()
    this.source = this.open()
    return this.source
  }
}
