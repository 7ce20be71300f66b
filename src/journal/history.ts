/** The durable journal: segments in order, the epochs, and reading them while others append, cut and trim. */
import type { Block, EpochStart } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import { diverged, type ReadOptions, type Segment } from './segment.js'

export class History {
  readonly segments: Segment[]
  epochs: readonly EpochStart[]
  /** Raised by every cut: what was read across one is read again. */
  generation = 0

  constructor(segments: Segment[], epochs: readonly EpochStart[]) {
    invariant(segments.length > 0, 'a journal has a segment')
    this.segments = segments
    this.epochs = epochs
  }

  get newest(): Segment {
    const segment = this.segments.at(-1)
    invariant(segment !== undefined, 'a journal has a segment')
    return segment
  }

  get base(): Position {
    const segment = this.segments[0]
    invariant(segment !== undefined, 'a journal has a segment')
    return segment.base
  }

  get durable(): Position {
    return this.newest.end
  }

  get bytes(): number {
    let total = 0
    for (const segment of this.segments) total += segment.header.fileBytes
    return total
  }

  /** The newest segment that begins at or before the entry after `sequence`. */
  find(sequence: number): Segment {
    let low = 0
    let high = this.segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const segment = this.segments[middle]
      if (segment !== undefined && segment.base.sequence <= sequence) low = middle + 1
      else high = middle
    }
    const segment = this.segments[low - 1]
    invariant(segment !== undefined, 'the sequence is not below the base')
    return segment
  }

  async positionAt(sequence: number): Promise<Position | undefined> {
    return await this.stable(async () => {
      if (sequence < this.base.sequence || sequence > this.durable.sequence) return undefined
      const segment = this.find(sequence)
      return (await segment.use(() => segment.locate(sequence)))?.position
    })
  }

  /** Durable blocks after `from`, of one segment at a time. */
  async read(from: Position, options: ReadOptions): Promise<Block[]> {
    return await this.stable(async () => {
      if (from.sequence < this.base.sequence) throw this.tooOld(from)
      if (from.sequence > this.durable.sequence) {
        throw diverged(from, `this journal ends at ${this.durable.sequence}`)
      }
      const segment = this.find(from.sequence)
      if (from.sequence === segment.end.sequence || options.limitSequence <= from.sequence) {
        const here = (await segment.use(() => segment.locate(from.sequence)))?.position
        if (here?.chain !== from.chain) throw diverged(from, `here it is ${here?.chain ?? 'inside a block'}`)
        return []
      }
      return await segment.use(() => segment.read(from, options))
    })
  }

  /** Runs `work` again if the journal was cut meanwhile: what it saw may be gone. */
  private async stable<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      const { generation } = this
      try {
        const result = await work()
        if (generation === this.generation) return result
      } catch (error) {
        if (generation === this.generation) throw error
      }
    }
  }

  private tooOld(from: Position): UnderstudyError {
    return new UnderstudyError(
      'TOO_OLD',
      `sequence ${from.sequence + 1} is no longer in the journal, which begins after ${this.base.sequence}`,
      { hint: 'rebuild from a snapshot' },
    )
  }
}
