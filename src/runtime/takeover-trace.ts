import { type Epoch, formatEpoch } from '../core/position.js'
import type { Span } from '../ports/tracer.js'
import type { FailoverRecord } from './handle.js'
import type { ShardContext } from './shard-context.js'

/** One takeover, from when the primary was missed until the first block of the new epoch is committed. */
export class TakeoverTrace {
  private readonly context: ShardContext
  private span: Span | undefined

  constructor(context: ShardContext) {
    this.context = context
  }

  /** Does nothing while one is under way: it has several steps that may each be the first. */
  begin(kind: FailoverRecord['kind'], epoch: Epoch, missedMs: number): void {
    const { clock, config, parts } = this.context
    this.span ??= parts.tracer?.start(
      'understudy.takeover',
      { 'understudy.shard': config.name, 'understudy.kind': kind, 'understudy.epoch': formatEpoch(epoch) },
      { startMs: clock.wallMs() - missedMs },
    )
  }

  event(name: string): void {
    this.span?.event(name)
  }

  /** Idempotent. */
  end(error?: unknown): void {
    this.span?.end(error === undefined ? {} : { error })
    this.span = undefined
  }
}
