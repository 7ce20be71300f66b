import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { formatPosition, samePosition } from '../core/position.js'
import { compareFamilies, verdictOf } from '../core/verify.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { EngineSnapshot } from '../ports/engine.js'
import { ComparedNode } from './compared-node.js'
import type { Greeter } from './greeter.js'
import type { WaitOptions } from './handle.js'
import type { ShardContext } from './shard-context.js'
import { type PlannedRange, SnapshotContent } from './verify-content.js'
import type { VerifyOptions, VerifyProgress, VerifyResult } from './verify-report.js'

export interface VerifierParts {
  readonly context: ShardContext
  readonly greeter: Greeter
  /** Writes an entry without operations under this request number of this process, wherever the primary is. */
  readonly writeMark: (request: number, options: WaitOptions & { readonly timeoutMs: number }) => Promise<unknown>
}

/**
 * Compares this node with all others at one position, while they serve. The position is that of an entry written for
 * it: all nodes are told beforehand which one to look for, and each takes its snapshot in the turn in which it has
 * applied the block that holds it. Nothing is paused, and no node has to be as fast as another.
 */
export class Verifier {
  private readonly parts: VerifierParts
  private running = false

  constructor(parts: VerifierParts) {
    this.parts = parts
  }

  async verify(options: VerifyOptions): Promise<VerifyResult> {
    if (this.running) throw new UnderstudyError('VERIFY_REFUSED', 'a comparison is under way on this node already')
    this.running = true
    const run = new Run(this.parts, options)
    try {
      return await run.result()
    } finally {
      await run.end()
      this.running = false
    }
  }
}

/** One comparison. */
class Run {
  private readonly parts: VerifierParts
  private readonly options: VerifyOptions
  private readonly abort = new AbortController()
  private readonly nodes: readonly ComparedNode[]
  private readonly startedMs: number
  private readonly onAbort = () => this.abort.abort()
  private view: EngineSnapshot | undefined
  private unwatch: (() => void) | undefined
  private toldMs = Number.NEGATIVE_INFINITY
  private phase: VerifyProgress['phase'] | undefined
  private families = 0
  private entries = 0
  private bytes = 0
  private bytesExpected: number | undefined

  constructor(parts: VerifierParts, options: VerifyOptions) {
    this.parts = parts
    this.options = options
    this.startedMs = parts.context.clock.nowMs()
    const differencesMax = options.differencesMax ?? limits.verifyDifferences
    const dial = async (member: MemberAddress, signal: AbortSignal) =>
      (await parts.greeter.dial(member, 'verify', signal)).link
    this.nodes = parts.context.cluster.others.map(
      (member) => new ComparedNode({ member, dial, differencesMax, signal: this.abort.signal }),
    )
    if (options.signal?.aborted) this.abort.abort()
    options.signal?.addEventListener('abort', this.onAbort, { once: true })
  }

  async result(): Promise<VerifyResult> {
    const content = await this.prepare()
    if (content !== undefined) await this.compare(content)
    this.check()
    const nodes = this.nodes.map((node) => node.report())
    return {
      verdict: verdictOf(nodes.map(({ state }) => state)),
      node: this.parts.context.config.node,
      position: content?.position,
      nodes,
      differences: this.nodes.flatMap((node) => node.differences),
      families: this.families,
      entries: this.entries,
      bytes: this.bytes,
      durationMs: Math.round(this.parts.context.clock.nowMs() - this.startedMs),
    }
  }

  async end(): Promise<void> {
    this.options.signal?.removeEventListener('abort', this.onAbort)
    this.abort.abort()
    this.unwatch?.()
    for (const node of this.nodes) node.close()
    await this.view?.close()
  }

  /** All nodes at one position; undefined if nobody else answers. */
  private async prepare(): Promise<SnapshotContent | undefined> {
    const { context } = this.parts
    const timeoutMs = this.options.timeoutMs ?? limits.verifyTimeoutMs
    if (this.nodes.length === 0) {
      throw new UnderstudyError('VERIFY_REFUSED', `${context.config.node} knows no other node to compare with`)
    }
    const { data } = context
    if (data === undefined || ['bootstrapping', 'fenced', 'failed'].includes(context.state)) {
      const message = `${context.config.node} has no content to compare with (${context.state}: ${context.reason})`
      throw new UnderstudyError('VERIFY_REFUSED', message, { hint: 'ask another node' })
    }
    this.tell({ phase: 'waiting' })
    const request = context.nextRequest()
    // In this order: who does not watch before the entry is written may apply it unseen.
    const armed = await Promise.all(this.nodes.map((node) => node.arm(request, timeoutMs)))
    this.check()
    if (!armed.includes(true)) return undefined
    this.unwatch = data.applier.watch({
      origin: context.origin,
      request,
      reached: () => {
        if (!this.abort.signal.aborted) this.view = takeSnapshot(() => data.engine.snapshot())
      },
    })
    try {
      await this.parts.writeMark(request, { timeoutMs, signal: this.abort.signal })
    } catch (error) {
      this.check()
      const cause = toUnderstudyError(error, 'writing')
      throw new UnderstudyError(
        'VERIFY_REFUSED',
        `the nodes cannot be brought to one position, because nothing can be written now: ${cause.message}`,
        { cause: error, hint: 'compare again when there is a primary that takes writes: see `understudy status`' },
      )
    }
    const { view } = this
    if (view === undefined) {
      throw new UnderstudyError('VERIFY_REFUSED', `the data of ${context.config.node} was replaced meanwhile`)
    }
    const content = new SnapshotContent(data.engine, view)
    await Promise.all(this.nodes.map((node) => node.awaitSnapshot(timeoutMs)))
    this.bytesExpected = await data.engine.sizeEstimateBytes()
    for (const node of this.nodes) {
      const there = node.content?.position
      if (there !== undefined && !samePosition(there, content.position)) {
        node.giveUp({
          code: 'DIVERGED',
          message: `it has another history: ${formatPosition(there)} there, ${formatPosition(content.position)} here, chains ${there.chain} and ${content.position.chain}`,
        })
      }
    }
    return content
  }

  private async compare(content: SnapshotContent): Promise<void> {
    const shared = new Map<ComparedNode, ReadonlySet<string>>()
    for (const node of this.nodes) {
      if (node.content === undefined) continue
      const { differences, shared: both } = compareFamilies(content.families, node.content.families)
      for (const difference of differences) node.note(difference)
      shared.set(node, new Set(both.map(({ name }) => name)))
    }
    for (const family of content.families) {
      const isLeft = () => this.nodes.filter((node) => node.isOpen && shared.get(node)?.has(family.name) === true)
      if (isLeft().length === 0) continue
      this.families += 1
      let batch: PlannedRange[] = []
      for await (const range of content.plan(family)) {
        batch.push(range)
        if (isFull(batch)) {
          await this.compareBatch(content, family, batch, isLeft())
          batch = []
          if (isLeft().length === 0) break
        }
      }
      if (batch.length > 0) await this.compareBatch(content, family, batch, isLeft())
    }
  }

  private async compareBatch(
    content: SnapshotContent,
    family: Family,
    batch: readonly PlannedRange[],
    nodes: readonly ComparedNode[],
  ): Promise<void> {
    const { clock } = this.parts.context
    const startMs = clock.nowMs()
    await Promise.all(nodes.map((node) => node.compare(content, family, batch)))
    this.check()
    let bytes = 0
    for (const range of batch) {
      bytes += range.bytes
      this.entries += range.digest.count
    }
    this.bytes += bytes
    this.tell({ phase: 'comparing', family: family.name })
    const rate = this.options.maxBytesPerSecond ?? limits.verifyBytesPerSecond
    await this.pause((bytes / rate) * 1000 - (clock.nowMs() - startMs))
  }

  private async pause(ms: number): Promise<void> {
    if (ms < 1) return
    const { signal } = this.abort
    await new Promise<void>((resolve) => {
      const timer = this.parts.context.clock.setTimer(ms, resolve)
      signal.addEventListener(
        'abort',
        () => {
          timer.cancel()
          resolve()
        },
        { once: true },
      )
    })
    this.check()
  }

  private check(): void {
    if (this.abort.signal.aborted) throw new UnderstudyError('ABORTED', 'the comparison was aborted')
    const { context } = this.parts
    if (context.stopping) throw new UnderstudyError('CLOSED', `${context.config.node} is closing`)
    if (this.view !== undefined && context.data === undefined) {
      throw new UnderstudyError('VERIFY_REFUSED', `the data of ${context.config.node} was replaced meanwhile`)
    }
  }

  /** At once when the phase changes, else a few times per second. */
  private tell(progress: Pick<VerifyProgress, 'phase'> & Partial<VerifyProgress>): void {
    const { clock } = this.parts.context
    if (progress.phase === this.phase && clock.nowMs() - this.toldMs < limits.verifyProgressMs) return
    this.phase = progress.phase
    this.toldMs = clock.nowMs()
    const differences = this.nodes.reduce((sum, node) => sum + node.differences.length, 0)
    const { entries, bytes, bytesExpected } = this
    this.options.onProgress?.({ family: undefined, entries, bytes, bytesExpected, differences, ...progress })
  }
}

/** Requests stay within a frame, and their answers within the time that is waited for them. */
function isFull(batch: readonly PlannedRange[]): boolean {
  let bytes = 0
  let bounds = 0
  for (const range of batch) {
    bytes += range.bytes
    bounds += range.start.length
  }
  return (
    batch.length >= limits.verifyRangesMax || bytes >= limits.verifyRequestBytes || bounds >= limits.verifyBoundBytesMax
  )
}

function takeSnapshot(take: () => EngineSnapshot): EngineSnapshot | undefined {
  try {
    return take()
  } catch (error) {
    // The engine was closed under it: the wait for the snapshot says so.
    if (isFailure(error)) return undefined
    throw error
  }
}
