import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { toUnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Journal } from '../ports/journal.js'

/**
 * Sends a journal's blocks to one subscriber, from its position on: from memory while it keeps up, from disk when it
 * has fallen behind, and never more than it granted. It has a position of its own, so nothing is queued for it and
 * nothing is skipped.
 */
export class Feeder {
  private readonly journal: Journal
  private readonly link: Link
  /** Sequence up to which this subscriber may see the journal. */
  private readonly limit: () => number
  private next: Position
  private creditBytes: number
  private reading = false

  constructor(parts: {
    readonly journal: Journal
    readonly link: Link
    readonly from: Position
    readonly creditBytes: number
    readonly limit: () => number
  }) {
    this.journal = parts.journal
    this.link = parts.link
    this.next = parts.from
    this.creditBytes = Math.min(parts.creditBytes, limits.creditBytes)
    this.limit = parts.limit
  }

  get sent(): number {
    return this.next.sequence
  }

  grant(bytes: number): void {
    this.creditBytes = Math.min(this.creditBytes + bytes, limits.creditBytes)
    this.pump()
  }

  pump(): void {
    while (!this.reading && this.creditBytes > 0 && !this.link.isClosed) {
      if (this.link.unsentBytes > this.link.bufferBytesMax) return
      const limitSequence = this.limit()
      if (this.next.sequence >= limitSequence) return
      const options = { bytesMax: Math.min(limits.journalReadBytes, this.creditBytes), limitSequence }
      const blocks = this.journal.readCached(this.next, options)
      if (blocks === undefined) {
        this.readFromDisk(options)
        return
      }
      if (blocks.length === 0) return
      for (const block of blocks) {
        this.link.sendBlock(block)
        this.creditBytes -= block.bytes.length
        this.next = block.end
      }
    }
  }

  private readFromDisk(options: { readonly bytesMax: number; readonly limitSequence: number }): void {
    this.reading = true
    this.journal.read(this.next, options).then(
      (blocks) => {
        this.reading = false
        for (const block of blocks) {
          this.link.sendBlock(block)
          this.creditBytes -= block.bytes.length
          this.next = block.end
        }
        if (blocks.length > 0) this.pump()
      },
      (error) => {
        this.reading = false
        this.link.fail(toUnderstudyError(error, 'reading the journal for a subscriber'))
      },
    )
  }
}
