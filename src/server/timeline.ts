import { limits } from '../core/limits.js'
import { formatEpoch } from '../core/position.js'
import type { FailoverRecord, NodeStatus, ShardEvent } from '../runtime/handle.js'
import type { PeerAnswer, TimelineEvent } from './live-picture.js'

interface Seen {
  readonly state: string | undefined
  readonly reachable: boolean
}

/**
 * What changed in the cluster as this node saw it, for people: a bounded list, newest last. Changes of this node come
 * from its events, those of others from a comparison of one picture with the one before.
 */
export class Timeline {
  private readonly kept: TimelineEvent[] = []
  private fresh: TimelineEvent[] = []
  private readonly epochs = new Map<string, TimelineEvent>()
  private readonly others = new Map<string, Seen>()
  private inSync: readonly string[] | undefined
  private hasPicture = false

  get events(): readonly TimelineEvent[] {
    return this.kept
  }

  /** What was added since the last call. */
  takeFresh(): readonly TimelineEvent[] {
    const { fresh } = this
    this.fresh = []
    return fresh
  }

  onShardEvent(atMs: number, self: string, event: ShardEvent): void {
    switch (event.type) {
      case 'transition':
        // Becoming primary is told with its epoch.
        if (event.to === 'primary') return
        this.add({ atMs, kind: 'state', node: self, text: `${event.from} → ${event.to}: ${event.reason}` })
        return
      case 'in-sync': {
        this.inSync = event.inSync
        this.addInSync(atMs, self, event, event.reason)
        return
      }
      case 'diverged': {
        const kept = event.file === undefined ? '' : `; they are kept in ${event.file}`
        const entries = event.cutEntries === 1 ? '1 entry was' : `${event.cutEntries} entries were`
        const text = `${entries} cut off that the present history does not have${kept}`
        this.add({ atMs, kind: 'loss', node: self, text })
        return
      }
      case 'failure':
        this.add({ atMs, kind: 'state', node: self, text: `failed: ${event.error.message}` })
        return
      case 'record':
      case 'failover':
      case 'bootstrap':
      case 'lag':
        // In the status too: changes of primary are taken from there, with those that other nodes tell.
        return
    }
  }

  /** Compares with the picture before. */
  onPicture(atMs: number, self: NodeStatus, peers: readonly PeerAnswer[]): void {
    const failovers = [self, ...peers.flatMap(({ status }) => status ?? [])].flatMap(
      ({ shards }) => shards[0]?.failovers ?? [],
    )
    for (const failover of failovers) this.addFailover(failover)
    for (const member of self.members) {
      const before = this.others.get(member.node)
      this.others.set(member.node, { state: member.state, reachable: member.reachable })
      const { node } = member
      if (before === undefined) {
        if (this.hasPicture) this.add({ atMs, kind: 'reach', node, text: 'is a member now' })
        continue
      }
      if (before.reachable !== member.reachable) {
        this.add({ atMs, kind: 'reach', node, text: member.reachable ? 'answers again' : 'does not answer any more' })
      }
      if (before.state !== undefined && member.state !== undefined && before.state !== member.state) {
        if (member.state !== 'primary') {
          this.add({ atMs, kind: 'state', node, text: `${before.state} → ${member.state}` })
        }
      }
    }
    this.hasPicture = true
    const shard = self.shards[0]
    if (shard === undefined || shard.inSync.length === 0) return
    const before = this.inSync
    this.inSync = shard.inSync
    // The primary tells its changes itself, with the reason.
    if (before === undefined || shard.role === 'primary') return
    const change = {
      added: shard.inSync.filter((node) => !before.includes(node)),
      removed: before.filter((node) => !shard.inSync.includes(node)),
      inSync: shard.inSync,
    }
    this.addInSync(atMs, shard.primary?.node ?? self.node, change, undefined)
  }

  private addInSync(
    atMs: number,
    node: string,
    change: {
      readonly added: readonly string[]
      readonly removed: readonly string[]
      readonly inSync: readonly string[]
    },
    reason: string | undefined,
  ): void {
    const { added, removed, inSync } = change
    if (added.length + removed.length === 0) return
    const parts = [
      ...(added.length === 0 ? [] : [`${added.join(', ')} joined`]),
      ...(removed.length === 0 ? [] : [`${removed.join(', ')} left`]),
    ]
    const why = reason === undefined ? '' : `: ${reason}`
    this.add({ atMs, kind: 'in-sync', node, text: `In-sync set: ${inSync.join(', ')} (${parts.join(', ')}${why})` })
  }

  /** Several nodes may tell of one change; the new primary knows most. */
  private addFailover({ at, epoch, primary, kind, tookMs, mayLose }: FailoverRecord): void {
    const key = formatEpoch(epoch)
    const told = this.epochs.get(key)
    if (told !== undefined) return
    const how = {
      failover: 'by failover',
      switchover: 'by switchover',
      'by-hand': 'promoted by hand',
      start: 'at the start',
    }[kind]
    const took =
      tookMs === undefined ? '' : `, took ${tookMs < 1000 ? `${tookMs} ms` : `${(tookMs / 1000).toFixed(1)} s`}`
    const atMs = Date.parse(at)
    const event: TimelineEvent = {
      atMs,
      kind: 'primary',
      node: primary,
      epoch: key,
      text: `is primary in epoch ${key}, ${how}${took}`,
    }
    this.epochs.set(key, event)
    // As many as there are events: the oldest are told by nobody any more.
    if (this.epochs.size > limits.pictureEventsMax) this.epochs.delete(this.epochs.keys().next().value!)
    this.add(event)
    if (mayLose !== undefined) {
      const entries = mayLose.entries === undefined ? 'entries, how many is not known' : `${mayLose.entries} entries`
      this.add({ atMs, kind: 'loss', node: primary, text: `may have lost ${entries}: ${mayLose.reason}` })
    }
  }

  private add(event: TimelineEvent): void {
    this.kept.push(event)
    this.fresh.push(event)
    for (const list of [this.kept, this.fresh]) if (list.length > limits.pictureEventsMax) list.shift()
  }
}
