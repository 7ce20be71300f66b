/** Keys and values that are moved from one store to another, and checked to be there. */
import { encodeChunk, packedEntryBytes } from '../codec/chunk.js'
import { RunningDigest } from '../codec/digest.js'
import { limits } from '../core/limits.js'
import { compareBytes } from '../core/rewind.js'
import { UnderstudyError } from '../errors.js'

export type ContentEntry = readonly [Uint8Array, Uint8Array]

export interface ContentReader {
  /** Everything, in key order, in bounded pieces. */
  read(signal: AbortSignal): AsyncGenerator<readonly ContentEntry[]>
}

export interface ContentWriter extends ContentReader {
  isEmpty(signal: AbortSignal): Promise<boolean>
  /** Durable as the store has it when it resolves. A key that exists gets the value. */
  write(entries: readonly ContentEntry[], signal: AbortSignal): Promise<void>
}

export interface ContentSummary {
  readonly entries: number
  readonly bytes: number
  /** First 128 bits of SHA-256 over the packed entries in key order. */
  readonly digest: string
}

export type OnContent = (entries: number, bytes: number) => void

const pieceEntries = 1000
const pieceBytes = 1024 * 1024
/** Writes under way at once: keys are distinct, so that their order does not matter. */
const writesMax = 4

/** Everything of `from` into `to`; pieces of a bounded size, a bounded number of them at once. */
export async function copyContent(
  from: ContentReader,
  to: ContentWriter,
  signal: AbortSignal,
  onContent: OnContent,
): Promise<ContentSummary> {
  const digest = new RunningDigest()
  const underWay = new Set<Promise<void>>()
  let entries = 0
  let bytes = 0
  let failure: unknown
  const write = (piece: readonly ContentEntry[]): void => {
    const work: Promise<void> = to
      .write(piece, signal)
      .then(() => {
        entries += piece.length
        for (const [key, value] of piece) bytes += key.length + value.length
        onContent(entries, bytes)
      })
      .catch((error) => {
        failure ??= error
      })
      .finally(() => underWay.delete(work))
    underWay.add(work)
  }
  try {
    for await (const piece of inPieces(from.read(signal))) {
      digest.update(encodeChunk(piece))
      write(piece)
      while (underWay.size >= writesMax) await Promise.race(underWay)
      if (failure !== undefined) throw failure
      signal.throwIfAborted()
    }
  } finally {
    await Promise.all(underWay)
  }
  if (failure !== undefined) throw failure
  return { entries, bytes, digest: digest.finish() }
}

/**
 * Reads both again: every entry of `from` is in `to`, with its value. Returns what `to` has of it, and how many keys it
 * has besides. Throws `CORRUPTION` with the first key that is missing or different.
 */
export async function checkContent(
  from: ContentReader,
  to: ContentReader,
  signal: AbortSignal,
  onContent: OnContent,
): Promise<ContentSummary & { readonly others: number }> {
  const digest = new RunningDigest()
  const [left, right] = [new Cursor(from.read(signal)), new Cursor(to.read(signal))]
  let entries = 0
  let bytes = 0
  let others = 0
  try {
    for (let wanted = await left.next(); wanted !== undefined; wanted = await left.next()) {
      let found = await right.next()
      while (found !== undefined && compareBytes(found[0], wanted[0]) < 0) {
        others += 1
        found = await right.next()
      }
      if (found === undefined || compareBytes(found[0], wanted[0]) !== 0) {
        throw notThere(wanted[0], 'is missing')
      }
      if (compareBytes(found[1], wanted[1]) !== 0) throw notThere(wanted[0], 'has another value')
      digest.update(encodeChunk([found]))
      entries += 1
      bytes += found[0].length + found[1].length
      if (entries % pieceEntries === 0) onContent(entries, bytes)
    }
    while ((await right.next()) !== undefined) others += 1
  } finally {
    await Promise.all([left.close(), right.close()])
  }
  onContent(entries, bytes)
  return { entries, bytes, digest: digest.finish(), others }
}

function notThere(key: Uint8Array, what: string): UnderstudyError {
  return new UnderstudyError('CORRUPTION', `what was written was read back: ${describeKey(key)} ${what}`, {
    hint: 'if nobody else writes there, look at the disk; then do it again into an empty place',
  })
}

export function describeKey(key: Uint8Array): string {
  const text = Buffer.from(key).toString('utf8')
  const shown = Buffer.from(text).equals(Buffer.from(key))
    ? JSON.stringify(text)
    : `base64:${Buffer.from(key).toString('base64')}`
  return `key ${shown.length > 100 ? `${shown.slice(0, 100)}…` : shown}`
}

/** What no node takes is known by its key before anything of its piece is written. */
export function checkEntry([key, value]: ContentEntry): void {
  const { keyBytesMax, valueBytesMax } = limits
  if (key.length > keyBytesMax) {
    throw new UnderstudyError('LIMIT_EXCEEDED', `${describeKey(key)} has ${key.length} bytes; at most ${keyBytesMax}`)
  }
  if (value.length > valueBytesMax) {
    const message = `the value of ${describeKey(key)} has ${value.length} bytes; at most ${valueBytesMax}`
    throw new UnderstudyError('LIMIT_EXCEEDED', message)
  }
}

async function* inPieces(pieces: AsyncIterable<readonly ContentEntry[]>): AsyncGenerator<ContentEntry[]> {
  let piece: ContentEntry[] = []
  let bytes = 0
  for await (const some of pieces) {
    for (const entry of some) {
      checkEntry(entry)
      piece.push(entry)
      bytes += packedEntryBytes(...entry)
      if (piece.length < pieceEntries && bytes < pieceBytes) continue
      yield piece
      piece = []
      bytes = 0
    }
  }
  if (piece.length > 0) yield piece
}

/** Entry by entry through pieces. */
class Cursor {
  private readonly pieces: AsyncGenerator<readonly ContentEntry[]>
  private piece: readonly ContentEntry[] = []
  private at = 0

  constructor(pieces: AsyncGenerator<readonly ContentEntry[]>) {
    this.pieces = pieces
  }

  async next(): Promise<ContentEntry | undefined> {
    while (this.at >= this.piece.length) {
      const next = await this.pieces.next()
      if (next.done === true) return undefined
      this.piece = next.value
      this.at = 0
    }
    this.at += 1
    return this.piece[this.at - 1]
  }

  async close(): Promise<void> {
    await this.pieces.return(undefined)
  }
}
