import { encodeChunk, packedEntryBytes } from '../codec/chunk.js'
import { chainHash, RunningDigest } from '../codec/digest.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { type ListedEntry, type RangeDigest, RangePlanner, type VerifyRange } from '../core/verify.js'
import type { Engine, EngineSnapshot, KeyRange } from '../ports/engine.js'

export interface Listing {
  readonly entries: readonly ListedEntry[]
  /** Where to go on; undefined at the end of the range. */
  readonly nextKey: Uint8Array | undefined
}

/** One node's content at one position, as a comparison reads it. */
export interface VerifyContent {
  readonly position: Position
  readonly families: readonly Family[]
  /** Of ranges that follow each other without a gap. */
  digests(family: Family, ranges: readonly VerifyRange[]): Promise<readonly RangeDigest[]>
  /** The first entries of the range, a bounded number of them. */
  keys(family: Family, range: VerifyRange): Promise<Listing>
}

/** A range as this node has it; `keys` are all that are in it. */
export interface PlannedRange extends VerifyRange {
  readonly digest: RangeDigest
  readonly keys: readonly Uint8Array[]
  readonly bytes: number
}

const stepEntries = 500

/** The content of this node. Whoever made the snapshot closes it. */
export class SnapshotContent implements VerifyContent {
  private readonly engine: Engine
  private readonly view: EngineSnapshot

  constructor(engine: Engine, view: EngineSnapshot) {
    this.engine = engine
    this.view = view
  }

  get position(): Position {
    return this.view.position
  }

  get families(): readonly Family[] {
    return this.view.families
  }

  async digests(family: Family, ranges: readonly VerifyRange[]): Promise<readonly RangeDigest[]> {
    const digests: RangeDigest[] = []
    for (const range of ranges) digests.push(await this.digestOf(family, range))
    return digests
  }

  async keys(family: Family, range: VerifyRange): Promise<Listing> {
    const entries: ListedEntry[] = []
    let bytes = 0
    for await (const piece of this.read(family, range)) {
      for (const [key, value] of piece) {
        if (entries.length >= limits.verifyKeysMax || bytes >= limits.verifyBoundBytesMax)
          return { entries, nextKey: key }
        entries.push({ key, digest: chainHash(encodeChunk([[key, value]])) })
        bytes += key.length
      }
    }
    return { entries, nextKey: undefined }
  }

  /** The whole family in ranges, read once. An empty one is one range. */
  async *plan(family: Family): AsyncGenerator<PlannedRange> {
    const planner = new RangePlanner()
    let start: Uint8Array = new Uint8Array(0)
    let digest = new RunningDigest()
    let keys: Uint8Array[] = []
    let bytes = 0
    const finish = (end: Uint8Array | undefined): PlannedRange => ({
      start,
      end,
      keys,
      bytes,
      digest: { count: keys.length, digest: digest.finish(), isWhole: true },
    })
    for await (const piece of this.read(family, { start, end: undefined })) {
      for (const entry of piece) {
        const [key, value] = entry
        const entryBytes = packedEntryBytes(key, value)
        if (planner.endsBefore(entryBytes)) {
          yield finish(key)
          start = key
          digest = new RunningDigest()
          keys = []
          bytes = 0
        }
        digest.update(encodeChunk([entry]))
        keys.push(key)
        bytes += entryBytes
      }
    }
    yield finish(undefined)
  }

  private async digestOf(family: Family, range: VerifyRange): Promise<RangeDigest> {
    const digest = new RunningDigest()
    let count = 0
    let bytes = 0
    for await (const piece of this.read(family, range)) {
      const packed = encodeChunk(piece)
      digest.update(packed)
      count += piece.length
      bytes += packed.length
      if (count > limits.verifyRangeEntriesMax || bytes > limits.verifyRangeBytesMax) {
        return { count, digest: digest.finish(), isWhole: false }
      }
    }
    return { count, digest: digest.finish(), isWhole: true }
  }

  private async *read(family: Family, range: VerifyRange): AsyncGenerator<Array<[Uint8Array, Uint8Array]>> {
    const bounds: KeyRange = { start: range.start, ...(range.end === undefined ? {} : { end: range.end }) }
    const iterator = this.engine.scan(family.id, { ...bounds, snapshot: this.view })
    try {
      for (;;) {
        const piece = await iterator.next(stepEntries)
        if (piece.length === 0) return
        yield piece
      }
    } finally {
      await iterator.close()
    }
  }
}
