// The only file of the codec that touches Node: these functions are pure, and native code is 10 to 50 times faster.
import { createHash, hash } from 'node:crypto'
import { crc32 as zlibCrc32 } from 'node:zlib'
import type { Chain } from '../core/position.js'

/** CRC-32 (IEEE) against damage; `previous` continues over several parts. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  return zlibCrc32(bytes, previous)
}

/**
 * First 128 bits of SHA-256. The chain must be non-linear: a running CRC over bytes that end in their own CRC is
 * constant, whatever the bytes are.
 */
export function chainHash(bytes: Uint8Array): Chain {
  return hash('sha256', bytes, 'hex').slice(0, 32)
}

/** The chain before the first block: bound to the history and the shard, so that no two histories ever meet. */
export function chainZero(historyId: string, shard: string): Chain {
  return chainHash(Buffer.from(`understudy history ${historyId} shard ${shard}`))
}

/** The same bytes in any pieces give the same digest: the first 128 bits of SHA-256. */
export class RunningDigest {
  private readonly running = createHash('sha256')

  update(bytes: Uint8Array): void {
    this.running.update(bytes)
  }

  finish(): string {
    return this.running.digest('hex').slice(0, 32)
  }
}
