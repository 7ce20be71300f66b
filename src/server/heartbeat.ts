import { limits } from '../core/limits.js'
import { type ReplicationHealth, type ReplicationPicture, replicationHealth } from '../core/replication-health.js'
import { toUnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { NodeHandle, ShardStatus } from '../runtime/handle.js'

export interface HeartbeatParts {
  readonly node: NodeHandle
  readonly clock: Clock
  readonly logger: Logger
  readonly url: URL
  readonly intervalMs: number
  /** Rejects with a coded error unless somebody answered that it was taken. */
  readonly ping: (url: URL, options: { readonly timeoutMs: number; readonly signal: AbortSignal }) => Promise<void>
}

type Outcome = 'none' | 'sent' | 'failed' | 'withheld'

/**
 * Calls a URL at an interval as long as replication through this node is healthy. Whoever is called raises the alarm
 * when the calls stay away: that works when this node hangs, and when nobody watches its metrics.
 */
export class Heartbeat {
  private readonly parts: HeartbeatParts
  private readonly logger: Logger
  private readonly ending = new AbortController()
  private readonly before = new Map<string, { readonly appended: number }>()
  private timer: Timer | undefined
  private beating: Promise<void> | undefined
  private outcome: Outcome = 'none'

  constructor(parts: HeartbeatParts) {
    this.parts = parts
    // Such URLs are often a key to the service by themselves: only its origin is told.
    this.logger = parts.logger.child({ service: parts.url.origin })
  }

  start(): void {
    this.schedule()
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.ending.abort()
    this.timer?.cancel()
    await this.beating
  }

  /** One look, and one call if all is well; never two at the same time. */
  private schedule(): void {
    if (this.ending.signal.aborted) return
    this.timer = this.parts.clock.setTimer(this.parts.intervalMs, () => {
      this.beating = this.beat().finally(() => this.schedule())
    })
  }

  private async beat(): Promise<void> {
    const { url, ping, intervalMs } = this.parts
    const health = this.health()
    if (!health.healthy) {
      this.tell('withheld', { reason: health.reason })
      return
    }
    try {
      const timeoutMs = Math.min(limits.heartbeatTimeoutMs, intervalMs)
      await ping(url, { timeoutMs, signal: this.ending.signal })
      this.tell('sent', {})
    } catch (error) {
      if (this.ending.signal.aborted) return
      this.tell('failed', { error: toUnderstudyError(error, 'the heartbeat').message })
    }
  }

  private health(): ReplicationHealth {
    const { node } = this.parts
    const { shards, voter } = node.status()
    if (shards.length === 0) {
      if (voter?.state === 'serving') return { healthy: true }
      return { healthy: false, reason: `the voter is ${voter?.state ?? 'not here'}` }
    }
    for (const shard of shards) {
      const health = replicationHealth(
        pictureOf(node.name, shard),
        this.before.get(shard.shard),
        limits.heartbeatLagMsMax,
      )
      this.before.set(shard.shard, { appended: shard.sequence.appended })
      if (!health.healthy) return { healthy: false, reason: `shard ${shard.shard}: ${health.reason}` }
    }
    return { healthy: true }
  }

  /** Once for each change: who is not reached for a day is not told every ten seconds. */
  private tell(outcome: Outcome, fields: Readonly<Record<string, string>>): void {
    if (outcome === this.outcome) return
    this.outcome = outcome
    if (outcome === 'sent') this.logger.info(fields, 'heartbeat sent')
    else if (outcome === 'withheld') this.logger.warn(fields, 'heartbeat withheld: replication is not healthy')
    else this.logger.warn(fields, 'heartbeat failed: its service was not reached')
  }
}

function pictureOf(node: string, shard: ShardStatus): ReplicationPicture {
  return {
    role: shard.role,
    state: shard.state,
    reason: shard.reason,
    node,
    inSyncMin: shard.settings.inSyncMin,
    inSync: shard.inSync,
    connected: shard.followers.filter((one) => one.connected).map((one) => one.node),
    appended: shard.sequence.appended,
    committed: shard.sequence.committed,
    lagMs: shard.lagMs,
  }
}
