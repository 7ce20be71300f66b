import { randomBytes } from 'node:crypto'
import type { EngineKind } from '#src/ports/engine.js'
import { type Database, openPair } from './pair.js'

export interface BootstrapFigures {
  readonly bytes: number
  readonly entries: number
  /** From the start of the new standby's process until it streams. */
  readonly seconds: number
  readonly mebibytesPerSecond: number
  readonly fillSeconds: number
}

const valueBytes = 1024
const mebibyte = 1024 * 1024
const entriesPerBatch = 500

/** Entries of 1 KiB; returns how many. */
export async function fillDatabase(db: Database, mebibytes: number): Promise<number> {
  const entries = Math.round((mebibytes * mebibyte) / valueBytes)
  // One after another in a few lanes: what is measured begins afterwards.
  let next = 0
  const lane = async () => {
    while (next < entries) {
      const from = next
      next = Math.min(entries, next + entriesPerBatch)
      const random = randomBytes(valueBytes * (next - from))
      const operations = []
      for (let entry = from; entry < next; entry++) {
        // Nothing that can be compressed, within a value or from one to the next.
        const value = random.subarray((entry - from) * valueBytes, (entry - from + 1) * valueBytes)
        operations.push({ type: 'put' as const, key: String(entry).padStart(16, '0'), value })
      }
      await db.batch(operations)
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  return entries
}

/** A primary with data, a standby whose disk is thrown away, and the time until it is a standby again. */
export async function measureBootstrap(mebibytes: number, engine: EngineKind = 'level'): Promise<BootstrapFigures> {
  const pair = await openPair('local', engine)
  const { db, cluster } = pair
  try {
    await cluster.stop('b')
    cluster.eraseData('b')
    const fillStartMs = performance.now()
    const entries = await fillDatabase(db, mebibytes)
    const fillSeconds = (performance.now() - fillStartMs) / 1000
    const startMs = performance.now()
    cluster.start('b')
    let bytes = 0
    await cluster.until(
      'b',
      'streaming',
      (shard) => {
        bytes = Math.max(bytes, shard.bootstrap?.bytesDone ?? 0)
        return shard.state === 'streaming'
      },
      600_000,
    )
    const seconds = (performance.now() - startMs) / 1000
    bytes = Math.max(bytes, entries * (valueBytes + 16))
    return { bytes, entries, seconds, mebibytesPerSecond: bytes / mebibyte / seconds, fillSeconds }
  } finally {
    await pair.close()
  }
}
