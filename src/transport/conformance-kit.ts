/** What the transport suite is made of; tests of a single transport may use it too. */
import assert from 'node:assert/strict'
import type { Connection, Frame, Transport } from '../ports/transport.js'
import type { TransportLimits } from './transport-limits.js'

export interface TransportNodeOptions {
  readonly secret?: string
  readonly limits?: Partial<TransportLimits>
}

export interface TransportNode {
  readonly transport: Transport
  /** Where others reach it. */
  readonly address: string
  /** Codes of the connections that it refused, in order, as its log shows them. */
  readonly refusals: readonly string[]
  close(): Promise<void>
}

export interface TransportHarness {
  node(options?: TransportNodeOptions): Promise<TransportNode>
  /** An address where nobody listens. */
  deadAddress(): Promise<string>
  /** An address that takes connections and never says a word; `close` frees it. */
  silentAddress(): Promise<{ readonly address: string; close(): Promise<void> }>
}

/** Handlers that keep what comes, for tests that wait for it. */
export class Recorder {
  readonly frames: Frame[] = []
  readonly closed: Promise<Error | undefined>
  closeCount = 0
  private waiters: Array<() => void> = []

  constructor(connection: Connection) {
    this.closed = new Promise((resolve) => {
      connection.start({
        onFrame: (frame) => {
          assert.equal(this.closeCount, 0, 'no frame after the close')
          this.frames.push(frame)
          this.wake()
        },
        onClose: (error) => {
          this.closeCount += 1
          resolve(error)
          this.wake()
        },
      })
    })
  }

  /** Resolves when `count` frames have come in all; rejects if the connection ends before. */
  async reach(count: number): Promise<readonly Frame[]> {
    while (this.frames.length < count) {
      assert.equal(this.closeCount, 0, `closed after ${this.frames.length} of ${count} frames`)
      await new Promise<void>((resolve) => this.waiters.push(resolve))
    }
    return this.frames
  }

  private wake(): void {
    const waiters = this.waiters
    this.waiters = []
    for (const waiter of waiters) waiter()
  }
}

export interface Pair {
  readonly near: Connection
  readonly far: Connection
  readonly nodes: readonly [TransportNode, TransportNode]
}

export const patient = { timeoutMs: 10_000 }

/** Two connected nodes; both are closed when `use` is done. */
export async function withPair(
  harness: TransportHarness,
  options: TransportNodeOptions,
  use: (pair: Pair) => Promise<void>,
): Promise<void> {
  await withNodes(harness, options, options, async (a, b) => {
    const accepted = new Promise<Connection>((resolve) => b.transport.accept(resolve))
    const near = await a.transport.connect(b.address, patient)
    await use({ near, far: await accepted, nodes: [a, b] })
  })
}

export async function withNodes(
  harness: TransportHarness,
  first: TransportNodeOptions,
  second: TransportNodeOptions,
  use: (a: TransportNode, b: TransportNode) => Promise<void>,
): Promise<void> {
  const a = await harness.node(first)
  const b = await harness.node(second)
  try {
    await use(a, b)
  } finally {
    await Promise.all([a.close(), b.close()])
  }
}

export function numbered(index: number, bytes: number): Uint8Array {
  const payload = Buffer.alloc(bytes, index & 0xff)
  payload.writeUInt32LE(index, 0)
  return payload
}

/** Resolves when `done` holds; looked at whenever the process has taken in its input. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise<void>((resolve) => setImmediate(resolve))
}
