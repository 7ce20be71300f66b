import type { Understudy } from '#src/index.js'

export interface WriteFigures {
  readonly writers: number
  readonly writes: number
  readonly seconds: number
  readonly writesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const keyDigits = 16
const valueBytes = 100

/** So many callers, each with one write in flight, for a while; keys in no order. */
export async function measureWrites(
  db: Understudy<string, Uint8Array>,
  writers: number,
  durationMs: number,
): Promise<WriteFigures> {
  const value = Buffer.alloc(valueBytes, 'understudy ')
  const latencies: number[] = []
  await run(db, writers, durationMs / 4, value, [])
  const startMs = performance.now()
  await run(db, writers, durationMs, value, latencies)
  const seconds = (performance.now() - startMs) / 1000
  latencies.sort((a, b) => a - b)
  const at = (part: number) => latencies[Math.min(latencies.length - 1, Math.floor(part * latencies.length))]!
  return {
    writers,
    writes: latencies.length,
    seconds,
    writesPerSecond: Math.round(latencies.length / seconds),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1),
  }
}

let keys = 0

async function run(
  db: Understudy<string, Uint8Array>,
  writers: number,
  durationMs: number,
  value: Uint8Array,
  latencies: number[],
): Promise<void> {
  const endMs = performance.now() + durationMs
  const writer = async () => {
    for (;;) {
      const beganMs = performance.now()
      if (beganMs > endMs) return
      keys += 1
      // Scattered over the key space, and never the same twice.
      const key = String((keys * 7_919_777_551) % 9_999_999_967).padStart(keyDigits, '0')
      await db.put(key, value)
      latencies.push(performance.now() - beganMs)
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
}
