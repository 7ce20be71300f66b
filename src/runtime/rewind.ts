import { decodeBlock, decodeEntries } from '../codec/block.js'
import { decodeMessage, type Message } from '../codec/messages.js'
import { refuseAppend } from '../core/append.js'
import { backoffMs } from '../core/backoff.js'
import { decideRejoin } from '../core/history.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { epochZero, formatPosition, type Position } from '../core/position.js'
import { sameMember } from '../core/record.js'
import { TouchedKeys } from '../core/rewind.js'
import { errorFromFailure, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { Journal } from '../ports/journal.js'
import type { Greeter } from './greeter.js'
import { KeyFetcher } from './key-fetcher.js'
import type { ShardContext } from './shard-context.js'
import { BootstrapNeeded, type ShardData } from './shard-data.js'
import type { RewindMark } from './shard-store.js'
import { bootstrapSlot } from './slots.js'
import { Wake } from './wake.js'

export interface RewindParts {
  readonly context: ShardContext
  readonly greeter: Greeter
  /** Opens the data for this rewind alone; `onProgress` hears when more is durable or applied. */
  readonly open: (onProgress: () => void) => Promise<ShardData>
}

export type RewindEnd =
  /** The data is as the primary's history has it, and open. */
  | { readonly type: 'done'; readonly data: ShardData }
  /** The mark says so too: a restart does not try again. */
  | { readonly type: 'resync'; readonly reason: string }
  | { readonly type: 'interrupted' }

/**
 * Undoes entries that are applied here and that the primary's history does not have, key by key (B3). In this order,
 * each step durable before the next: side file, mark, where the snapshot was taken, values with the position taken
 * back (one batch), cut of the journal, replay up to the snapshot, end of the mark. A crash anywhere leads back to
 * here: while the tail is in the journal its keys are known and everything is done again, replay of the tail included;
 * once it is cut, the values are in. Nothing is acknowledged meanwhile, nobody reads, and nobody is served (C7).
 */
export class Rewind {
  private readonly parts: RewindParts
  private readonly context: ShardContext
  private readonly wake: Wake
  private data: ShardData | undefined
  private attempts = 0
  private ownFailure: unknown

  constructor(parts: RewindParts) {
    this.parts = parts
    this.context = parts.context
    this.wake = new Wake(parts.context.clock)
  }

  async run(signal: AbortSignal): Promise<RewindEnd> {
    const onAbort = () => this.wake.signal()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.open()
      while (!signal.aborted && this.context.failure === undefined) {
        try {
          const isDone = await this.attempt(signal)
          if (isDone) return { type: 'done', data: this.handOver() }
        } catch (error) {
          await this.pause(error, signal)
        }
      }
      return { type: 'interrupted' }
    } catch (error) {
      if (!(error instanceof NeedsResync) && !(error instanceof BootstrapNeeded)) throw error
      const resync: string = (error as Error).message
      await this.saveMark((mark) => ({ ...mark, resync }))
      return { type: 'resync', reason: resync }
    } finally {
      signal.removeEventListener('abort', onAbort)
      await this.closeData()
    }
  }

  /** Something that an attempt depends on has changed. */
  onPeersChanged(): void {
    this.wake.signal()
  }

  private get mark(): RewindMark {
    const mark = this.context.store.superblock?.rewinding
    invariant(mark !== undefined, 'a rewind has a mark from its beginning to its end')
    return mark
  }

  private async saveMark(change: (mark: RewindMark) => RewindMark | undefined): Promise<void> {
    await this.own(this.context.store.update((now) => ({ ...now, rewinding: change(this.mark) })))
  }

  private get journal(): Journal {
    return this.opened.journal
  }

  private get opened(): ShardData {
    invariant(this.data !== undefined, 'the data is open while it is rewound')
    return this.data
  }

  private async open(): Promise<void> {
    const opening = this.parts.open(() => {
      // Nobody else tells the applier how far it may go.
      const { data } = this
      if (data !== undefined) data.noteCommitted(data.committed)
      this.wake.signal()
    })
    this.data = await this.own(opening)
  }

  private handOver(): ShardData {
    const data = this.opened
    this.data = undefined
    return data
  }

  private async closeData(): Promise<void> {
    const { data } = this
    this.data = undefined
    await data?.close()
  }

  /** A failure of this node's own disk: no other attempt helps. */
  private async own<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.ownFailure ??= error
      throw error
    }
  }

  private async pause(error: unknown, signal: AbortSignal): Promise<void> {
    const { context } = this
    if (error === this.ownFailure || !(error instanceof UnderstudyError)) throw error
    if (signal.aborted) return
    const waitMs = backoffMs(this.attempts, limits.reconnectMinMs, limits.reconnectMaxMs, context.random.next())
    this.attempts += 1
    context.logger.warn({ error: error.message, waitMs }, 'rewind attempt failed')
    context.explain(`rewinding to ${formatPosition(this.mark.common)}: ${error.message}`)
    await this.wake.wait(waitMs)
  }

  /** True when the data is whole again. */
  private async attempt(signal: AbortSignal): Promise<boolean> {
    const { context } = this
    const record = context.newestRecord
    const address = record === undefined ? undefined : context.addressOf(record.primary.node)
    if (record === undefined || address === undefined || sameMember(record.primary, context.self!)) {
      throw new UnderstudyError('UNAVAILABLE', 'no other node is known to lead')
    }
    const primary = { node: record.primary.node, address }
    await this.checkSnapshot(primary, signal)
    const { link, welcome } = await this.parts.greeter.dial(primary, 'source', signal)
    const onAbort = () => link.close(new UnderstudyError('ABORTED', 'the rewind was interrupted'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      // Only the primary's own history decides what is undone. It may be waiting for this very node to begin.
      if (welcome.state !== 'primary' && welcome.state !== 'promoting') {
        throw new UnderstudyError('UNAVAILABLE', `${welcome.node} does not lead (${welcome.state})`)
      }
      for (;;) {
        const stream = await this.match(link, signal)
        if (stream !== undefined) return await this.finish(link, stream, signal)
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      link.close()
    }
  }

  /**
   * Once the values of a snapshot are in and the tail is cut, only a history that has that snapshot can be replayed to
   * it. Asked beforehand: a primary whose history lacks it may never get as far.
   */
  private async checkSnapshot(primary: MemberAddress, signal: AbortSignal): Promise<void> {
    const { snapshot, end } = this.mark
    if (snapshot === undefined || (await this.contains(end)) || (await this.contains(snapshot))) return
    const { link } = await this.parts.greeter.dial(primary, 'source', signal)
    try {
      link.send('subscribe', { position: snapshot, epochs: [], creditBytes: 0 })
      const [answer] = await link.expectOneOf(['stream', 'tooOld', 'diverged'], limits.requestTimeoutMs, signal)
      if (answer !== 'stream') throw lacksSnapshot(snapshot)
    } finally {
      link.close()
    }
  }

  /** Asks whether the journal can be continued; undefined when something was undone and the question is new. */
  private async match(link: Link, signal: AbortSignal): Promise<Message<'stream'> | undefined> {
    const { journal } = this
    await journal.mark()
    link.send('subscribe', {
      position: journal.durable,
      epochs: journal.epochs,
      creditBytes: limits.creditBytes,
    })
    const [name, payload] = await link.expectOneOf(['stream', 'tooOld', 'diverged'], limits.requestTimeoutMs, signal)
    switch (name) {
      case 'stream':
        return decodeMessage('stream', payload)
      case 'tooOld':
        throw new NeedsResync(`${link.remote} has no journal from ${formatPosition(journal.durable)} on`)
      case 'diverged':
        await this.undo(link, decodeMessage('diverged', payload).common, signal)
        return undefined
    }
  }

  private async undo(link: Link, common: Position, signal: AbortSignal): Promise<void> {
    const { context, opened, journal } = this
    const { snapshot } = this.mark
    if (snapshot !== undefined && !(await this.contains(this.mark.end))) {
      // Values of another history than the primary's are in, and the keys are no longer known.
      if (common.sequence < snapshot.sequence) {
        throw lacksSnapshot(snapshot)
      }
    }
    const decision = decideRejoin({
      common,
      base: journal.base,
      end: journal.appended,
      here: await journal.positionAt(common.sequence),
      committed: opened.committed,
      applied: opened.applier.applied.sequence,
      // Decided when the mark was made.
      mayUndo: true,
      lossySince: epochZero,
    })
    if (decision.type === 'bootstrap') throw new NeedsResync(decision.reason)
    if (decision.type === 'fence') {
      this.ownFailure = errorFromFailure(decision.failure)
      throw this.ownFailure
    }
    const { to, cutEntries } = decision
    context.explain(`rewinding ${cutEntries} entries to ${formatPosition(to)}`)
    const file = await this.own(context.divergent.save(journal, to.sequence))
    if (decision.type === 'rewind') {
      await this.saveMark((mark) => ({ ...mark, common: to, end: journal.durable }))
      await this.takeBack(link, to, signal)
    }
    await this.own(journal.truncate(to))
    if (decision.type === 'rewind') {
      context.observer.rewoundEntries += cutEntries
      // From here on everything is as after a crash: engine and journal say themselves where they are.
      await this.closeData()
      await this.open()
    }
    context.logger.warn(
      { to: formatPosition(to), cutEntries, sideFile: file?.name },
      'entries undone: the present history does not have them',
    )
    context.emit({ type: 'diverged', cutEntries, at: to, file: file?.name })
  }

  private async takeBack(link: Link, to: Position, signal: AbortSignal): Promise<void> {
    const { context, opened } = this
    link.send('snapshotStart', { slot: bootstrapSlot(context.config.node), first: to })
    const snapshot = await link.expect('snapshot', limits.requestTimeoutMs, signal)
    // A primary that has applied less than both have in common takes the engine back that far, the journal not.
    const back = snapshot.position.sequence < to.sequence ? snapshot.position : to
    if (!(await this.contains(back))) {
      throw new NeedsResync(`the journal here does not hold ${formatPosition(back)}, where a snapshot was taken`)
    }
    const touched = await this.touchedAfter(back)
    if (touched.obstacle !== undefined) {
      throw new NeedsResync(`the entries after ${formatPosition(back)} are not undone key by key: ${touched.obstacle}`)
    }
    const onChecksumFailure = () => {
      this.context.observer.checksumFailures += 1
    }
    const fetcher = new KeyFetcher({ link, engine: opened.engine, snapshot, onChecksumFailure })
    const keys = await fetcher.fetch(touched.families, signal)
    if (typeof keys === 'string') throw new NeedsResync(keys)
    link.send('snapshotComplete', { snapshot: snapshot.id })
    await this.saveMark((mark) => ({ ...mark, snapshot: snapshot.position }))
    await opened.applier.settled()
    await this.own(opened.engine.rewind(keys, back))
  }

  /** All of the tail, applied or not: what an earlier attempt has taken back is in there too. */
  private async touchedAfter(position: Position): Promise<TouchedKeys> {
    const { journal } = this
    const touched = new TouchedKeys()
    const limitSequence = journal.durable.sequence
    for (let at = position; at.sequence < limitSequence && touched.obstacle === undefined; ) {
      const blocks = await journal.read(at, { bytesMax: limits.journalReadBytes, limitSequence })
      for (const block of blocks) {
        for (const entry of decodeEntries(block)) for (const operation of entry.operations) touched.add(operation)
        at = block.end
      }
    }
    return touched
  }

  private async finish(link: Link, stream: Message<'stream'>, signal: AbortSignal): Promise<true> {
    const { context } = this
    const { snapshot, end } = this.mark
    if (snapshot !== undefined) {
      // The primary has what was being undone, while some keys have another history's values already.
      if (await this.contains(end)) {
        throw new NeedsResync(`entries up to ${formatPosition(end)} were being undone, and the primary has them`)
      }
      await this.replayTo(link, stream, snapshot, signal)
      if (!(await this.contains(snapshot))) {
        throw lacksSnapshot(snapshot)
      }
      // A restart replays at least this far before anybody reads: the mark may go only after that is durable.
      this.opened.noteCommitted(snapshot.sequence)
      await this.journal.mark()
    }
    await this.saveMark(() => undefined)
    context.logger.info({ at: formatPosition(this.opened.applier.applied) }, 'rewound')
    return true
  }

  /** Takes in what the primary has committed until everything up to `target` is applied here. */
  private async replayTo(link: Link, stream: Message<'stream'>, target: Position, signal: AbortSignal): Promise<void> {
    const { context, opened, journal } = this
    const uncredited: Array<{ readonly sequence: number; readonly bytes: number }> = []
    let committed = stream.committed
    link.handle((name, payload) => {
      if (name === 'committed') {
        committed = Math.max(committed, decodeMessage('committed', payload).sequence)
      } else if (name === 'block') {
        const block = decodeBlock(payload)
        const failure = refuseAppend({
          header: block.header,
          end: journal.appended,
          sessionEpoch: stream.epoch,
          promised: context.promised,
        })
        if (failure !== undefined) throw errorFromFailure(failure)
        uncredited.push({ sequence: block.end.sequence, bytes: payload.length })
        journal.append([block])
      } else throw new UnderstudyError('PROTOCOL', `${name} is not expected from a source`)
      this.wake.signal()
    })
    void link.closed.then(() => this.wake.signal())
    let seen = -1
    let seenMs = context.clock.nowMs()
    for (;;) {
      // A source shows its committed prefix and nothing beyond (C1): what came from it may be applied.
      opened.noteCommitted(Math.min(committed, journal.appended.sequence))
      let bytes = 0
      while (uncredited[0] !== undefined && uncredited[0].sequence <= journal.durable.sequence) {
        bytes += uncredited.shift()!.bytes
      }
      if (bytes > 0) link.send('credit', { bytes })
      const applied = opened.applier.applied.sequence
      if (applied >= target.sequence) break
      if (context.failure !== undefined) throw context.failure
      if (signal.aborted || link.isClosed) {
        throw (await closeReason(link)) ?? new UnderstudyError('UNAVAILABLE', `${link.remote} ended the connection`)
      }
      const progress = applied + journal.durable.sequence
      if (progress > seen) {
        seen = progress
        seenMs = context.clock.nowMs()
      } else if (context.clock.nowMs() - seenMs > limits.requestTimeoutMs) {
        throw new UnderstudyError('TIMEOUT', `${link.remote} sent nothing towards ${formatPosition(target)}`)
      }
      await this.wake.wait(limits.pollMs)
    }
    link.close()
  }

  private async contains(position: Position): Promise<boolean> {
    if (position.sequence > this.journal.durable.sequence) return false
    return (await this.journal.positionAt(position.sequence))?.chain === position.chain
  }
}

/** Only a bootstrap helps. */
class NeedsResync extends Error {
  override readonly name = 'NeedsResync'
}

function lacksSnapshot(snapshot: Position): NeedsResync {
  return new NeedsResync(`values were taken at ${formatPosition(snapshot)}, which the primary's history lacks`)
}

async function closeReason(link: Link): Promise<UnderstudyError | undefined> {
  return link.isClosed ? await link.closed : undefined
}
