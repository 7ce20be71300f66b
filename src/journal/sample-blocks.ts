/** Made-up blocks and what tests of a journal need around them. */
import assert from 'node:assert/strict'
import { encodeBlock } from '../codec/block.js'
import { chainZero } from '../codec/digest.js'
import type { Block, Entry } from '../core/entry.js'
import { type Epoch, epochZero, type Position } from '../core/position.js'
import { type ErrorCode, UnderstudyError } from '../errors.js'
import type { Journal, JournalEvents, JournalIdentity } from '../ports/journal.js'

export const sampleIdentity: JournalIdentity = {
  cluster: 'shop',
  shard: 'main',
  historyId: '0123456789abcdef0123456789abcdef',
}

export const sampleBase: Position = {
  epoch: epochZero,
  sequence: 0,
  chain: chainZero(sampleIdentity.historyId, sampleIdentity.shard),
}

export const everything = { bytesMax: Number.MAX_SAFE_INTEGER, limitSequence: Number.MAX_SAFE_INTEGER }

/** Makes blocks that follow each other. */
export class SampleBlocks {
  end: Position
  private epoch: Epoch
  private request = 0

  constructor(end: Position = sampleBase, epoch: Epoch = { number: 1, node: 'a' }) {
    this.end = end
    this.epoch = epoch
  }

  /** A block of `entryCount` entries with one value of `valueBytes` each; the first of an epoch is its start. */
  next(options: { entryCount?: number; valueBytes?: number; committed?: number; value?: Uint8Array } = {}): Block {
    const epochStart = this.end.epoch.number < this.epoch.number
    const { entryCount = 1, valueBytes = 40 } = options
    const entries: Entry[] = []
    for (let index = 0; index < entryCount; index++) {
      const request = ++this.request
      const value = options.value ?? Buffer.alloc(valueBytes, `${this.epoch.number}.${request};`)
      const put = { type: 'put', family: 0, key: Buffer.from(`key ${request}`), value } as const
      entries.push({ origin: { node: 'a', boot: '00000000000000aa' }, request, operations: epochStart ? [] : [put] })
    }
    const block = encodeBlock({
      epoch: this.epoch,
      firstSequence: this.end.sequence + 1,
      timestampMs: 1_700_000_000_000 + this.end.sequence,
      committed: options.committed ?? 0,
      flushedBefore: 0,
      chainBefore: this.end.chain,
      epochStart,
      entries,
    })
    this.end = block.end
    return block
  }

  many(count: number, options: { entryCount?: number; valueBytes?: number } = {}): Block[] {
    return Array.from({ length: count }, () => this.next(options))
  }

  /** The same blocks up to here, others from now on. */
  fork(end: Position, epoch: Epoch): SampleBlocks {
    return new SampleBlocks(end, epoch)
  }
}

/** Records what a journal tells. */
export class JournalWatch implements JournalEvents {
  readonly positions: Position[] = []
  readonly failures: Error[] = []
  onDurable = (position: Position): void => {
    this.positions.push(position)
  }
  onFailed = (error: Error): void => {
    this.failures.push(error)
  }
}

export async function readAll(journal: Journal, from: Position = journal.base): Promise<Block[]> {
  const blocks: Block[] = []
  let at = from
  for (;;) {
    const more = await journal.read(at, everything)
    if (more.length === 0) return blocks
    blocks.push(...more)
    at = more.at(-1)?.end ?? at
  }
}

export function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  return assert.rejects(promise, (error) => error instanceof UnderstudyError && error.code === code)
}
