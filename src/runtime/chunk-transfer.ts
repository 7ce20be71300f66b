import { crc32 } from '../codec/digest.js'
import { decodeMessageAndRest, type Message } from '../codec/messages.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { IncomingData } from './incoming-data.js'
import type { SourceInbox } from './source-inbox.js'

export interface ChunkTransferParts {
  readonly link: Link
  readonly inbox: SourceInbox
  readonly snapshot: Message<'snapshot'>
  readonly data: IncomingData
  readonly clock: Clock
  readonly logger: Logger
  readonly maxBytesPerSecond: number | undefined
  /** A chunk is in the engine. */
  readonly onChunk: (bytes: number, entries: number) => void
  readonly onChecksumFailure: () => void
}

/** Pulls one snapshot's content key by key into the engine, from where it stopped the last time. */
export class ChunkTransfer {
  private readonly parts: ChunkTransferParts

  constructor(parts: ChunkTransferParts) {
    this.parts = parts
  }

  async run(signal: AbortSignal): Promise<void> {
    const { data, snapshot, onChunk } = this.parts
    const stored = await data.progress()
    if (stored.complete) return
    const families = [...snapshot.families].sort((a, b) => a.id - b.id)
    let { bytes, entries } = stored
    for (const [index, family] of families.entries()) {
      if (family.id < stored.family) continue
      let start: Uint8Array | undefined = family.id === stored.family ? stored.nextKey : new Uint8Array(0)
      let answer = start === undefined ? undefined : this.request(family, start, signal)
      while (answer !== undefined) {
        const [chunk, raw] = await answer
        start = chunk.nextKey
        // The next chunk travels while this one is written.
        answer = start === undefined ? undefined : this.request(family, start, signal)
        answer?.catch(() => undefined)
        bytes += raw.length
        entries += chunk.entryCount
        const complete = start === undefined && index === families.length - 1
        const { id, name } = family
        await data.ingest(family, raw, { family: id, familyName: name, nextKey: start, complete, bytes, entries })
        onChunk(raw.length, chunk.entryCount)
        await this.throttle(raw.length)
      }
    }
  }

  private async request(
    family: Family,
    start: Uint8Array,
    signal: AbortSignal,
  ): Promise<[Message<'chunk'>, Uint8Array]> {
    const { link, inbox, snapshot, logger } = this.parts
    for (let timeouts = 1; ; timeouts++) {
      // A late chunk still answers the one request that is open; it is never asked for twice on one connection.
      if (timeouts === 1)
        link.send('chunkRequest', { snapshot: snapshot.id, family, start, bytesMax: limits.chunkBytes })
      const payload = await inbox.nextChunk(limits.chunkTimeoutMs, signal)
      if (payload !== undefined) return this.check(family, payload)
      logger.warn({ source: link.remote, timeouts }, 'no chunk within the time-out')
      if (timeouts >= limits.chunkTimeoutsMax) {
        throw new UnderstudyError('TIMEOUT', `${link.remote}: ${timeouts} chunk time-outs in a row`)
      }
    }
  }

  private check(family: Family, payload: Uint8Array): [Message<'chunk'>, Uint8Array] {
    const { link, snapshot } = this.parts
    const [chunk, raw] = decodeMessageAndRest('chunk', payload)
    if (chunk.snapshot !== snapshot.id || chunk.family !== family.id) {
      throw new UnderstudyError('PROTOCOL', `${link.remote}: chunk of family ${chunk.family}, asked for ${family.id}`)
    }
    const checksum = crc32(raw)
    if (checksum !== chunk.checksum) {
      this.parts.onChecksumFailure()
      throw new UnderstudyError(
        'CORRUPTION',
        `chunk from ${link.remote}: expected checksum ${chunk.checksum}, found ${checksum}`,
        { hint: 'the source or the network is at fault; another source is asked' },
      )
    }
    return [chunk, raw]
  }

  private async throttle(bytes: number): Promise<void> {
    const { maxBytesPerSecond, clock } = this.parts
    if (maxBytesPerSecond === undefined) return
    await new Promise<void>((resolve) => {
      clock.setTimer((bytes / maxBytesPerSecond) * 1000, resolve)
    })
  }
}
