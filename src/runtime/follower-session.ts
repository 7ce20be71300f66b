import { decodeMessage, decodeMessageAndRest, type Message, type MessageName } from '../codec/messages.js'
import { limits } from '../core/limits.js'
import { type Epoch, formatEpoch, type Position, sameEpoch } from '../core/position.js'
import type { Member, ShardRecord } from '../core/record.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { Journal } from '../ports/journal.js'
import { carryOut } from './carry-out.js'
import type { Feeder } from './feeder.js'
import type { FollowerStatus, WriteOptions } from './handle.js'
import type { FollowerLink, PrimaryRole } from './primary-role.js'
import { answerSubscribe } from './subscription.js'

/** Primary's side of a standby that follows it: streams the journal, counts acknowledgements, takes forwarded writes. */
export class FollowerSession implements FollowerLink {
  readonly member: Member
  readonly epoch: Epoch
  private readonly link: Link
  private readonly role: PrimaryRole
  private readonly journal: Journal
  private readonly clock: Clock
  private readonly hello: Message<'hello'>
  private readonly holdSlot: (sequence: number) => void
  private readonly onEnd: () => void
  private feeder: Feeder | undefined
  private subscribing = false
  private acknowledged = false
  private progress = { received: 0, durable: 0, applied: 0, recordVersion: 0 }
  private readonly sinceMs: number
  private lastAheadMs: number
  private forwardsInFlight = 0
  private leaving = false

  constructor(parts: {
    readonly link: Link
    readonly hello: Message<'hello'>
    readonly role: PrimaryRole
    readonly journal: Journal
    readonly clock: Clock
    readonly holdSlot: (sequence: number) => void
    readonly onEnd: () => void
  }) {
    this.link = parts.link
    this.hello = parts.hello
    this.role = parts.role
    this.journal = parts.journal
    this.clock = parts.clock
    this.holdSlot = parts.holdSlot
    this.onEnd = parts.onEnd
    this.member = { node: parts.hello.node, incarnation: parts.hello.incarnation }
    this.epoch = parts.role.epoch
    this.sinceMs = parts.clock.wallMs()
    this.lastAheadMs = parts.clock.nowMs()
  }

  /** Serves until the link ends. */
  async run(): Promise<void> {
    this.role.addFollower(this)
    this.link.onPulse = () => this.tellCommitted()
    this.link.onStamp = (stamp) => this.tellFresh(stamp)
    this.link.handle((name, payload) => this.receive(name, payload))
    try {
      await this.link.closed
    } finally {
      this.role.removeFollower(this)
      this.onEnd()
    }
  }

  get isLeaving(): boolean {
    return this.leaving
  }

  pump(): void {
    this.feeder?.pump()
  }

  tellCommitted(): void {
    if (this.feeder === undefined) return
    this.link.send('committed', { epoch: this.epoch, sequence: this.role.announced })
  }

  tellRecord(record: ShardRecord): void {
    if (this.feeder !== undefined) this.link.send('record', { record })
  }

  askPromise(id: number): void {
    if (this.feeder !== undefined) this.link.send('leaseRequest', { epoch: this.epoch, id })
  }

  /** Own clock: when we sent what the standby has last shown to have heard; undefined where that is not measured. */
  get hearsStandbyAtMs(): number | undefined {
    return this.link.heardAtMs
  }

  end(error: UnderstudyError): void {
    this.link.fail(error)
  }

  status(): FollowerStatus {
    const end = this.journal.appended.sequence
    const { received, durable, applied } = this.progress
    const lagEntries = Math.max(0, end - durable)
    const inSync = this.role.inSync.members.some((one) => one.node === this.member.node)
    return {
      node: this.member.node,
      address: this.hello.advertise,
      connected: true,
      inSync,
      state: lagEntries === 0 || inSync ? 'streaming' : 'catching-up',
      received,
      durable,
      applied,
      lagEntries,
      lagBytes: lagBytesOf(this.journal, durable),
      lagMs: lagEntries === 0 ? 0 : Math.round(this.clock.nowMs() - this.lastAheadMs),
      since: new Date(this.sinceMs).toISOString(),
    }
  }

  /**
   * What was committed when the stamp was sent is no more than this, as long as nobody else can be primary. Before the
   * first block of the epoch is committed, the primary before may have committed more than is known here (L6, C4).
   */
  private tellFresh(stamp: number): void {
    if (this.feeder === undefined || !this.role.isReady || this.role.lease?.isHeld !== true) return
    this.link.send('fresh', { epoch: this.epoch, sequence: this.role.inSync.committed, echo: stamp })
  }

  private receive(name: MessageName | 'block', payload: Uint8Array): void {
    switch (name) {
      case 'subscribe':
        this.subscribe(decodeMessage('subscribe', payload))
        return
      case 'ack':
        this.acknowledge(decodeMessage('ack', payload))
        return
      case 'credit':
        this.feeder?.grant(decodeMessage('credit', payload).bytes)
        return
      case 'forward': {
        const [message, rest] = decodeMessageAndRest('forward', payload)
        this.forward(message, rest)
        return
      }
      case 'leave':
        this.leave()
        return
      case 'leasePromise': {
        const { epoch, id } = decodeMessage('leasePromise', payload)
        if (this.feeder === undefined || !sameEpoch(epoch, this.epoch)) {
          throw new UnderstudyError('STALE_EPOCH', `a promise for epoch ${formatEpoch(epoch)} that was not asked for`)
        }
        this.role.onPromise(this, id)
        return
      }
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected from a follower`)
    }
  }

  private subscribe(request: Message<'subscribe'>): void {
    if (this.subscribing) throw new UnderstudyError('PROTOCOL', 'subscribed twice at once')
    this.subscribing = true
    this.feeder = undefined
    this.acknowledged = false
    const { inSync } = this.role
    // Held before it is answered, so that nothing it will need is trimmed in between.
    this.holdSlot(request.position.sequence)
    answerSubscribe(this.link, this.journal, request, {
      epoch: this.epoch,
      epochStart: inSync.epochStart,
      committed: this.role.announced,
      limit: () => this.journal.appended.sequence,
    }).then(
      (feeder) => {
        this.subscribing = false
        if (feeder === undefined) return
        this.link.send('record', { record: this.role.durableRecord })
        this.feeder = feeder
        feeder.pump()
      },
      (error) => this.link.fail(toUnderstudyError(error, `subscription of ${this.member.node}`)),
    )
  }

  private acknowledge(ack: Message<'ack'>): void {
    if (this.feeder === undefined)
      throw new UnderstudyError('PROTOCOL', 'acknowledgement before the histories were matched')
    if (!sameEpoch(ack.epoch, this.epoch)) {
      throw new UnderstudyError(
        'STALE_EPOCH',
        `acknowledgement in another epoch than ${this.epoch.number}@${this.epoch.node}`,
      )
    }
    // Only what was matched or sent in this session counts, whatever the peer claims (C1).
    const durable = Math.min(ack.durable, this.feeder.sent)
    this.progress = {
      received: ack.received,
      durable,
      applied: Math.min(ack.applied, durable),
      recordVersion: ack.recordVersion,
    }
    if (durable >= this.journal.appended.sequence) this.lastAheadMs = this.clock.nowMs()
    this.holdSlot(durable)
    if (this.acknowledged) this.role.onAck(this, ack.epoch, this.progress)
    else {
      this.acknowledged = true
      this.role.onSession(this, this.progress)
    }
  }

  /** A forwarded write is taken in the epoch that it names and in no other, so that it can never be taken twice (S9). */
  private forward(message: Message<'forward'>, encoded: Uint8Array): void {
    const answer = (result: { position?: Position; error?: unknown }) => {
      const error =
        result.error === undefined
          ? undefined
          : toUnderstudyError(result.error, 'forwarded write', { outcome: 'unknown' })
      this.link.send('forwarded', {
        request: message.request,
        position: result.position,
        failure:
          error === undefined
            ? undefined
            : { code: error.failure, message: error.message, hint: error.hint, outcome: error.outcome },
      })
    }
    if (!sameEpoch(message.epoch, this.epoch)) {
      answer({ error: new UnderstudyError('STALE_EPOCH', 'the write names another epoch') })
      return
    }
    if (!this.role.isReady) {
      answer({ error: new UnderstudyError('NOT_READY', 'the first block of the epoch is not committed yet') })
      return
    }
    if (this.forwardsInFlight >= limits.forwardsInFlightMax) {
      answer({ error: new UnderstudyError('BACKPRESSURE', 'the primary takes no further forwarded writes now') })
      return
    }
    const origin = { node: this.member.node, boot: message.boot }
    const options: WriteOptions = { timeoutMs: message.timeoutMs, waitFor: message.waitFor }
    this.forwardsInFlight += 1
    carryOut(this.role, encoded, origin, message.request, options)
      .then(
        (position) => answer({ position }),
        (error) => answer({ error }),
      )
      .finally(() => {
        this.forwardsInFlight -= 1
      })
  }

  /** A standby that stops cleanly asks to leave the set first; if it cannot, it goes all the same. */
  private leave(): void {
    this.leaving = true
    this.role.removeFromInSync(this.member.node, { timeoutMs: limits.requestTimeoutMs }, this).then(
      (record) => this.link.send('record', { record }),
      (error) => this.link.fail(toUnderstudyError(error, 'leaving the in-sync set')),
    )
  }
}

/** Journal bytes beyond a sequence: exact for whole segments, in proportion within one. */
export function lagBytesOf(journal: Journal, sequence: number): number {
  let bytes = 0
  for (const segment of journal.segments) {
    if (segment.lastSequence <= sequence) continue
    const entries = segment.lastSequence - segment.firstSequence + 1
    const missing = Math.min(entries, segment.lastSequence - sequence)
    bytes += entries > 0 ? Math.round((segment.bytes * missing) / entries) : 0
  }
  return bytes
}
