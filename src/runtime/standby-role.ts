import { backoffMs } from '../core/backoff.js'
import { limits } from '../core/limits.js'
import { epochZero, formatEpoch, formatPosition, higherEpoch, sameEpoch } from '../core/position.js'
import { compareRecords, type ShardRecord, sameMember } from '../core/record.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Forwarder } from './forwarder.js'
import type { Greeter } from './greeter.js'
import type { ShardContext } from './shard-context.js'
import { bootstrapSlot } from './slots.js'
import { type SessionEnd, StandbySession } from './standby-session.js'

/** `rewind`: it is marked so in the superblock. */
export type Repair = { readonly type: 'bootstrap'; readonly reason: string } | { readonly type: 'rewind' }

/** What a node does while it is not primary and has data: find the primary, follow it, again and again. */
export class StandbyRole {
  private readonly context: ShardContext
  private readonly greeter: Greeter
  private readonly forwarder: Forwarder
  private attempt = 0
  /** The record under which this node was fenced for good: only a newer one is worth another attempt. */
  private fencedUnder: ShardRecord | undefined
  private following: { readonly record: ShardRecord; readonly overtaken: AbortController } | undefined

  constructor(context: ShardContext, greeter: Greeter, forwarder: Forwarder) {
    this.context = context
    this.greeter = greeter
    this.forwarder = forwarder
  }

  /** One attempt: returns what the data needs before it can follow, if it does. */
  async step(record: ShardRecord, signal: AbortSignal): Promise<Repair | undefined> {
    const { context } = this
    if (this.fencedUnder !== undefined && compareRecords(record, this.fencedUnder) <= 0) {
      await context.wake.wait(limits.reconnectMaxMs)
      return undefined
    }
    // Fenced only until it was known who leads; what diverged stays fenced until it was matched.
    if (this.fencedUnder === undefined) context.transition('unfence', `${record.primary.node} is the primary`)
    const { primary } = record
    const address = context.addressOf(primary.node)
    if (address === undefined) {
      context.explain(`${primary.node} is the primary, but the configuration has no address for it`)
      await context.wake.wait(limits.pollMs)
      return undefined
    }
    const overtaken = new AbortController()
    this.following = { record, overtaken }
    const end = await this.follow(primary.node, address, AbortSignal.any([signal, overtaken.signal]))
    this.following = undefined
    switch (end.type) {
      case 'lost':
        if (overtaken.signal.aborted && !signal.aborted) {
          this.attempt = 0
          context.transition('connection-lost', `${primary.node} is no longer the primary`)
          return undefined
        }
        await this.onLost(primary.node, end.error, signal)
        return undefined
      case 'fence':
        this.fencedUnder = record
        context.transition('fence', end.error.message)
        this.forwarder.fence(
          new UnderstudyError('FENCED', `${context.config.node} is fenced: ${end.error.message}`, {
            hint: end.error.hint ?? 'see `understudy status`',
          }),
        )
        context.explain(end.error.message)
        context.emit({ type: 'failure', error: end.error })
        return undefined
      case 'bootstrap':
        return end
      case 'rewind': {
        const rewinding = { common: end.to, end: end.end }
        await context.store.update((now) => ({ ...now, rewinding }))
        return { type: 'rewind' }
      }
    }
  }

  /** An old primary that hangs answers nobody: as soon as another one is known, that one is followed. */
  onPeersChanged(): void {
    const { following } = this
    const newest = this.context.newestRecord
    if (following === undefined || newest === undefined || sameMember(newest.primary, following.record.primary)) return
    if (compareRecords(newest, following.record) > 0) following.overtaken.abort()
  }

  private async follow(node: string, address: string, signal: AbortSignal): Promise<SessionEnd> {
    const { context } = this
    const data = context.data!
    try {
      const { link, welcome } = await this.greeter.dial({ node, address }, 'follow', signal)
      if (context.followPace !== undefined) link.setPace(context.followPace)
      let sideFile: string | undefined
      const session = new StandbySession({
        link,
        journal: data.journal,
        clock: context.clock,
        forwarder: this.forwarder,
        committed: () => data.committed,
        applied: () => data.applier.applied.sequence,
        promised: () => context.promised,
        adopt: async (epoch, record) => {
          await context.store.update((now) => ({
            ...now,
            promised: higherEpoch(now.promised, epoch),
            adopted: now.adopted || record !== undefined,
            record: record !== undefined && compareRecords(record, now.record) > 0 ? record : now.record,
          }))
          if (record !== undefined) context.emit({ type: 'record', record })
        },
        onSubscribed: (epoch) => {
          this.attempt = 0
          this.fencedUnder = undefined
          // From here on the primary keeps the journal under this standby's own slot.
          context.peers.pin(bootstrapSlot(context.config.node), 0)
          context.transition('subscribed', `following ${node} in epoch ${formatEpoch(epoch)}`)
        },
        onCaughtUp: () => context.transition('caught-up', `streaming from ${node}`),
        onCommitted: (sequence) => data.noteCommitted(sequence),
        givePromise: (epoch) => context.givePromise(epoch),
        freshness: context.cluster.automatic === undefined ? 'announced' : 'told',
        mayUndo: context.config.settings.durability === 'local',
        lossySince: welcome.record?.lossySince ?? epochZero,
        saveTail: async (common) => {
          sideFile = (await context.divergent.save(data.journal, common.sequence))?.name
        },
        onTruncated: (to, cutEntries) => {
          context.logger.warn(
            { to: formatPosition(to), cutEntries, sideFile },
            'uncommitted tail cut: the new history does not have it',
          )
          context.emit({ type: 'diverged', cutEntries, at: to, file: sideFile })
        },
        count: {
          checksumFailure: () => {
            context.observer.checksumFailures += 1
          },
          gap: () => {
            context.observer.gaps += 1
          },
        },
      })
      context.standby = session
      return await session.run(signal)
    } catch (error) {
      return { type: 'lost', error: toUnderstudyError(error, `following ${node}`) }
    } finally {
      if (context.standby !== undefined) {
        context.lastHeard = {
          announced: context.standby.announcedSequence,
          // A session that ended before it was told says nothing new: what was known before still holds.
          freshAtMs: context.standby.freshSinceMs ?? context.lastHeard.freshAtMs,
        }
      }
      context.standby = undefined
    }
  }

  private async onLost(node: string, error: UnderstudyError | undefined, signal: AbortSignal): Promise<void> {
    const { context } = this
    if (signal.aborted) return
    const why = error === undefined ? 'it closed the connection' : error.message
    context.transition('connection-lost', `${node}: ${why}`)
    context.explain(`${node}: ${why}`)
    const [minMs, maxMs] =
      context.cluster.automatic === undefined
        ? [limits.reconnectMinMs, limits.reconnectMaxMs]
        : [limits.reconnectFastMs, context.timings.silenceMs]
    const waitMs = backoffMs(this.attempt, minMs, maxMs, context.random.next())
    this.attempt += 1
    context.logger.debug({ primary: node, why, waitMs }, 'not following')
    const untilMs = context.clock.nowMs() + waitMs
    const before = context.newestRecord
    while (context.clock.nowMs() < untilMs && !signal.aborted) {
      await context.wake.wait(Math.max(1, untilMs - context.clock.nowMs()))
      // Another primary need not wait for the back-off of the old one; nor does one that is back (F12).
      const now = context.newestRecord
      if (
        before !== undefined &&
        now !== undefined &&
        (!sameMember(now.primary, before.primary) || !sameEpoch(now.epoch, before.epoch))
      ) {
        this.attempt = 0
        return
      }
      const view = context.peers.view(node)
      if (view?.reachable === true && view.state?.state === 'primary' && this.attempt > 2) {
        this.attempt = 1
        return
      }
    }
  }
}
