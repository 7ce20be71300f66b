import { resolveOptions } from '../config/check-options.js'
import type { OptionsInput } from '../config/schema.js'
import { limits } from '../core/limits.js'
import { compareBytes } from '../core/rewind.js'
import { isFailure, UnderstudyError } from '../errors.js'
import { createPinoLogger } from '../platform/pino-logger.js'
import type { ShardHandle } from '../runtime/handle.js'
import type { ContentEntry, ContentWriter } from './content.js'
import { askLines, askWrite, type NodeAddress } from './node-client.js'

const stepEntries = 1000
const retryMs = 250
/** A failover is waited out; what lasts longer needs a person. */
const patienceMs = 60_000

/** A data directory on this machine, opened without a port. */
export class LocalContent implements ContentWriter {
  private readonly shard: ShardHandle
  private readonly family: string
  readonly close: () => Promise<void>

  private constructor(shard: ShardHandle, family: string, close: () => Promise<void>) {
    this.shard = shard
    this.family = family
    this.close = close
  }

  static async open(
    input: OptionsInput,
    family: string,
    options: { readonly createIfMissing: boolean; readonly signal: AbortSignal },
  ): Promise<LocalContent> {
    const { createIfMissing, signal } = options
    // Only here: asking a node has no use for engines.
    const { startNode } = await import('../start-node.js')
    const logger = createPinoLogger({ level: 'silent' })
    const running = await startNode(resolveOptions(input), { logger, createIfMissing, signal })
    try {
      const shard = running.node.shard()
      await untilReady(shard, signal)
      shard.reader()
      return new LocalContent(shard, family, () => running.close())
    } catch (error) {
      await running.close()
      throw error
    }
  }

  private get familyId(): number {
    const found = this.shard.reader().families.find(({ name }) => name === this.family)
    if (found === undefined) throw new UnderstudyError('UNKNOWN_FAMILY', `there is no column family ${this.family}`)
    return found.id
  }

  async *read(signal: AbortSignal): AsyncGenerator<readonly ContentEntry[]> {
    const reader = this.shard.reader()
    const snapshot = reader.snapshot()
    const iterator = reader.scan(this.familyId, { snapshot })
    try {
      for (;;) {
        signal.throwIfAborted()
        const entries = await iterator.next(stepEntries)
        if (entries.length === 0) return
        yield entries
      }
    } finally {
      await iterator.close()
      await snapshot.close()
    }
  }

  async isEmpty(signal: AbortSignal): Promise<boolean> {
    for await (const piece of this.read(signal)) return piece.length === 0
    return true
  }

  async write(entries: readonly ContentEntry[], signal: AbortSignal): Promise<void> {
    const family = this.familyId
    await this.shard.write(
      entries.map(([key, value]) => ({ type: 'put', family, key, value })),
      { signal },
    )
  }
}

/** A directory of a cluster does not become readable alone: that is said, not waited for. */
async function untilReady(shard: ShardHandle, signal: AbortSignal): Promise<void> {
  const ended = new AbortController()
  const onAbort = () => ended.abort()
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(onAbort, limits.operateTimeoutMs)
  try {
    await shard.ready({ signal: ended.signal })
  } catch (error) {
    signal.throwIfAborted()
    if (!isFailure(error, 'ABORTED')) throw error
    const { state, reason } = shard.standing()
    throw new UnderstudyError('UNAVAILABLE', `the directory cannot be used alone: its node is ${state}, ${reason}`, {
      hint: 'it belongs to a cluster: start its node, and name that with --url',
    })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

/** A running node, over HTTP. */
export class RemoteContent implements ContentWriter {
  private readonly node: NodeAddress
  private readonly family: string
  /** Of the newest write: a standby is asked for no older content. */
  private position: string | undefined

  constructor(node: NodeAddress, family: string) {
    this.node = node
    this.family = family
  }

  /** One snapshot of the node that is asked, streamed. */
  async *read(signal: AbortSignal): AsyncGenerator<readonly ContentEntry[]> {
    yield* this.range('', signal)
  }

  async isEmpty(signal: AbortSignal): Promise<boolean> {
    for await (const piece of this.range('&limit=1', signal)) return piece.length === 0
    return true
  }

  async write(entries: readonly ContentEntry[], signal: AbortSignal): Promise<void> {
    const family = this.family === 'default' ? {} : { family: this.family }
    const operations = entries.map(([key, value]) => ({
      type: 'put',
      ...family,
      keyBase64: Buffer.from(key).toString('base64'),
      valueBase64: Buffer.from(value).toString('base64'),
    }))
    const body = JSON.stringify(operations)
    const endMs = performance.now() + patienceMs
    for (;;) {
      try {
        this.position = (await askWrite(this.node, '/v1/batch', body, signal)).position
        return
      } catch (error) {
        // The same keys with the same values: to write them twice changes nothing.
        signal.throwIfAborted()
        if (!isFailure(error) || performance.now() > endMs) throw error
        if (!error.retryable && error.outcome !== 'unknown') throw error
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
  }

  private async *range(more: string, signal: AbortSignal): AsyncGenerator<readonly ContentEntry[]> {
    const path = `/v1/kv?family=${encodeURIComponent(this.family)}${more}`
    const headers = this.position === undefined ? {} : { 'understudy-min-position': this.position }
    let before: Uint8Array | undefined
    for await (const lines of askLines(this.node, path, { headers, signal })) {
      const entries = lines.map((line): ContentEntry => [bytesOf(line, 'key'), bytesOf(line, 'value')])
      for (const [key] of entries) {
        if (before !== undefined && compareBytes(before, key) >= 0) {
          throw new UnderstudyError('PROTOCOL', `${this.node.url} sends keys out of order`)
        }
        before = key
      }
      yield entries
    }
  }
}

function bytesOf(line: Readonly<Record<string, unknown>>, name: 'key' | 'value'): Uint8Array {
  const text = line[name]
  if (typeof text === 'string') return Buffer.from(text)
  const encoded = line[`${name}Base64`]
  if (typeof encoded === 'string') return Buffer.from(encoded, 'base64')
  throw new UnderstudyError('PROTOCOL', `a line of the range has no ${name}`)
}
