import { encodeOperations, requestsOf } from '../codec/block.js'
import type { Message } from '../codec/messages.js'
import type { Block, Operation, Origin } from '../core/entry.js'
import type { Outcome } from '../core/failure.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { OwnRequests } from '../core/requests.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock, Timer } from '../ports/clock.js'
import { carryOut, isOfFamilies } from './carry-out.js'
import type { WriteOptions } from './handle.js'
import { isPassing, lateError, type NewWrite, type Obstacle, type PendingWrite, type Wishes } from './pending-write.js'
import type { PrimaryRole } from './primary-role.js'
import type { LeftWrite } from './write-queue.js'

/** Where writes go now. */
type Road =
  | { readonly type: 'session'; readonly link: Link; readonly epoch: Epoch }
  | { readonly type: 'role'; readonly role: PrimaryRole }

export interface ForwarderParts {
  readonly clock: Clock
  readonly origin: Origin
  readonly nextRequest: () => number
  readonly applied: () => number
  /** Why nothing can be written now, for a write that found no primary in time. */
  readonly obstacle: () => Obstacle
}

/**
 * Keeps the writes that were made here and are not answered, and sends them to where the primary is: over the session in
 * which this node follows it, or into this node's own role. A failover or switchover does not end them. `OwnRequests`
 * decides which of them may be sent (again), so that none is ever applied twice (S9).
 */
export class Forwarder {
  private readonly parts: ForwarderParts
  private readonly own = new OwnRequests()
  private readonly pending = new Map<number, PendingWrite>()
  private pendingBytes = 0
  private road: Road | undefined
  /** Sent on this road and not answered: request number and bytes. */
  private readonly outstanding = new Map<number, number>()
  private outstandingBytes = 0
  private pausedUntilMs = 0
  private sweepTimer: Timer | undefined
  private fencedBy: UnderstudyError | undefined
  private closed: UnderstudyError | undefined

  constructor(parts: ForwarderParts) {
    this.parts = parts
  }

  // Roads

  /** A session with the primary of `epoch` stands, whose first block has the sequence `epochStart`. */
  attach(link: Link, epoch: Epoch, epochStart: number): void {
    this.begin({ type: 'session', link, epoch }, epoch, epochStart)
  }

  /** This node is primary, and the first block of its epoch is committed and applied. */
  lead(role: PrimaryRole): void {
    this.begin({ type: 'role', role }, role.epoch, role.inSync.epochStart)
  }

  detach(end: Link | PrimaryRole): void {
    const { road } = this
    if (road === undefined || (road.type === 'session' ? road.link : road.role) !== end) return
    this.leaveRoad()
  }

  // Writes

  /** `reserved`: a number from `nextRequest` that nobody else uses. */
  write(operations: readonly Operation[], options: WriteOptions, reserved?: number): Promise<Position> {
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs = limits.writeTimeoutMs } = options
      if (signal?.aborted) throw new UnderstudyError('ABORTED', 'the write was aborted before it was sent')
      const bytes = encodeOperations(operations)
      const refusal = this.refuse(bytes.length)
      if (refusal !== undefined) throw refusal
      const request = reserved ?? this.parts.nextRequest()
      this.own.add(request, { direct: !operations.some(isOfFamilies) })
      const deadlineMs = this.parts.clock.nowMs() + timeoutMs
      this.keep({ request, bytes, timeoutMs, deadlineMs, resolve, reject, position: undefined }, options)
      this.pump()
    })
  }

  /** Takes over a write from this node's role in `epoch`, which has ended; the queue's bounds were its own. */
  takeOver(write: LeftWrite, epoch: Epoch): boolean {
    if (this.closed !== undefined) return false
    const { request, fate, end, deadlineMs, resolve, reject } = write
    const committed = fate === 'committed' || fate === 'applied'
    if (fate === 'gathered') this.own.add(request, { direct: !write.operations.some(isOfFamilies) })
    else this.own.addAppended(request, epoch, committed ? end?.sequence : undefined)
    const bytes = encodeOperations(write.operations)
    const timeoutMs = Math.max(1, Math.round(deadlineMs - this.parts.clock.nowMs()))
    const pending = this.keep({ request, bytes, timeoutMs, deadlineMs, resolve, reject, position: end }, write)
    if (fate === 'applied') this.confirm(pending)
    return true
  }

  // Answers

  answered(message: Message<'forwarded'>): void {
    if (message.failure !== undefined) {
      const { code, message: text, hint, outcome } = message.failure
      this.failed(
        message.request,
        new UnderstudyError(code, text, { outcome, ...(hint === undefined ? {} : { hint }) }),
      )
    } else if (message.position !== undefined) this.succeeded(message.request, message.position)
  }

  /** Blocks that have just been applied here: what is in them is done, whoever was to answer. */
  onApplied(blocks: readonly Block[]): void {
    if (this.own.isWatching) {
      for (const block of blocks)
        for (const request of requestsOf(block, this.parts.origin)) this.seen(request, block.end)
    }
    this.advance()
  }

  // Ends

  /** This node's data was given up: what was applied in between is not seen. */
  dataGone(): void {
    const error = new UnderstudyError(
      'UNAVAILABLE',
      'this node is being rebuilt; what became of the write is not known',
      {
        hint: 'read the key back before you repeat the write',
      },
    )
    for (const request of this.pending.keys()) if (this.own.outcomeOf(request) !== 'none') this.giveUp(request, error)
  }

  /** This node cannot follow anybody before an operator has decided. */
  fence(error: UnderstudyError): void {
    this.fencedBy = error
    this.giveUpAll(error)
  }

  close(error: UnderstudyError): void {
    this.closed ??= error
    this.leaveRoad()
    this.giveUpAll(this.closed)
    this.sweepTimer?.cancel()
  }

  private begin(road: Road, epoch: Epoch, epochStart: number): void {
    if (this.closed !== undefined) return
    this.leaveRoad()
    this.road = road
    this.fencedBy = undefined
    this.pausedUntilMs = 0
    this.own.begin(epoch, epochStart, this.parts.applied())
    this.advance()
  }

  private leaveRoad(): void {
    this.road = undefined
    this.outstanding.clear()
    this.outstandingBytes = 0
    this.own.end()
    // Nobody answers any more whether those that are here are also where their callers want them.
    for (const [request, write] of [...this.pending]) if (this.own.isSeen(request)) this.confirm(write)
  }

  private refuse(bytes: number): UnderstudyError | undefined {
    const refusal = this.closed ?? this.fencedBy
    if (refusal !== undefined) return refusal
    if (this.pending.size >= limits.forwardsInFlightMax || this.pendingBytes + bytes > limits.writeBytesQueuedMax) {
      return new UnderstudyError(
        'BACKPRESSURE',
        `${this.pending.size} writes (${this.pendingBytes} bytes) wait for the primary already; this one was not taken`,
        { hint: 'wait for writes to be answered before sending more' },
      )
    }
    return undefined
  }

  /** Sends what may be sent, as far as the road takes it. */
  private pump(): void {
    if (this.pausedUntilMs > this.parts.clock.nowMs()) return
    if (this.own.wantsBarrier && this.hasRoom()) {
      const barrier = this.parts.nextRequest()
      this.own.barrierSent(barrier)
      this.transmit(barrier, new Uint8Array(0), 'committed', limits.requestTimeoutMs)
    }
    for (;;) {
      const request = this.own.next
      if (request === undefined || !this.hasRoom()) return
      const write = this.pending.get(request)!
      this.own.sent(request)
      write.answered = false
      const leftMs = Math.max(1, Math.round(write.deadlineMs - this.parts.clock.nowMs()))
      this.transmit(request, write.bytes, write.waitFor, leftMs)
    }
  }

  private hasRoom(): boolean {
    const { road } = this
    if (road === undefined || this.outstanding.size >= limits.forwardsInFlightMax) return false
    if (this.outstandingBytes > limits.sendBufferBytesMax) return false
    return road.type === 'role' ? road.role.isReady : road.link.unsentBytes <= limits.sendBufferBytesMax
  }

  private transmit(request: number, bytes: Uint8Array, waitFor: PendingWrite['waitFor'], timeoutMs: number): void {
    const road = this.road!
    this.outstanding.set(request, bytes.length)
    this.outstandingBytes += bytes.length
    if (road.type === 'session') {
      const { boot } = this.parts.origin
      road.link.send('forward', { epoch: road.epoch, boot, request, waitFor, timeoutMs }, bytes)
      return
    }
    const { turn } = this.own
    // Not to be taken over when the role ends: it is here already.
    const options: WriteOptions = { timeoutMs, waitFor, forward: false }
    const answered = (take: () => void) => {
      if (this.road === road) this.release(request)
      if (this.own.isAnswerable(request, turn)) take()
    }
    carryOut(road.role, bytes, this.parts.origin, request, options).then(
      (position) => answered(() => this.succeeded(request, position)),
      (error) => answered(() => this.failed(request, toUnderstudyError(error, 'write', { outcome: 'unknown' }))),
    )
  }

  private succeeded(request: number, position: Position): void {
    this.release(request)
    const write = this.pending.get(request)
    if (write === undefined) return
    if (!write.confirms) write.position = position
    write.answered = true
    if (this.own.isSeen(request)) this.finish(request)
    else {
      this.own.told(request, position.sequence)
      this.advance()
    }
    this.pump()
  }

  private failed(request: number, error: UnderstudyError): void {
    this.release(request)
    if (this.own.barrierRefused(request)) this.pause()
    else if (!this.pending.has(request)) return
    else if (!isPassing(error)) this.giveUp(request, error, error.outcome)
    else if (error.outcome === 'none') {
      this.own.returned(request)
      this.pause()
    } else if (error.outcome === 'done') this.own.told(request, Number.MAX_SAFE_INTEGER)
    // Outcome `unknown`: this node's own journal will tell.
    this.pump()
  }

  private seen(request: number, position: Position): void {
    this.own.seen(request)
    const write = this.pending.get(request)
    if (write === undefined) return
    if (!write.confirms) write.position = position
    if (write.waitFor === 'committed' || write.answered) this.finish(request)
    else if (!this.outstanding.has(request)) this.confirm(write)
  }

  private advance(): void {
    for (const request of this.own.advance(this.parts.applied())) this.finish(request)
    this.pump()
  }

  /**
   * The write itself is here. What its caller asked for beyond a commit is asked for once more, by an empty write that
   * comes after it.
   */
  private confirm(write: PendingWrite): void {
    this.drop(write.request)
    write.request = this.parts.nextRequest()
    write.bytes = new Uint8Array(0)
    write.confirms = true
    this.own.add(write.request, { direct: true })
    this.pending.set(write.request, write)
  }

  private pause(): void {
    this.pausedUntilMs = this.parts.clock.nowMs() + limits.sweepMs
    this.scheduleSweep()
  }

  // Book-keeping

  private keep(write: NewWrite, wishes: Wishes): PendingWrite {
    const { signal, waitFor = 'committed' } = wishes
    const onAbort = () =>
      this.giveUp(pending.request, new UnderstudyError('ABORTED', 'the write was aborted', { outcome: 'unknown' }))
    signal?.addEventListener('abort', onAbort, { once: true })
    const unwatch = () => signal?.removeEventListener('abort', onAbort)
    const pending: PendingWrite = { ...write, waitFor, unwatch, answered: false, confirms: false }
    this.pending.set(write.request, pending)
    this.pendingBytes += write.bytes.length
    this.scheduleSweep()
    return pending
  }

  private drop(request: number): PendingWrite | undefined {
    const write = this.pending.get(request)
    if (write === undefined) return undefined
    this.pending.delete(request)
    this.pendingBytes -= write.bytes.length
    this.own.remove(request)
    return write
  }

  private release(request: number): void {
    const bytes = this.outstanding.get(request)
    if (bytes === undefined) return
    this.outstanding.delete(request)
    this.outstandingBytes -= bytes
  }

  private finish(request: number): void {
    const write = this.drop(request)
    write?.unwatch()
    write?.resolve(write.position!)
  }

  private giveUp(request: number, error: UnderstudyError, said?: Outcome): void {
    const known = this.own.outcomeOf(request)
    const write = this.drop(request)
    if (write === undefined) return
    write.unwatch()
    // What was seen here outweighs what anybody says.
    const outcome = write.confirms || known === 'done' ? 'done' : (said ?? known)
    write.reject(outcome === error.outcome ? error : error.withOutcome(outcome))
  }

  private giveUpAll(error: UnderstudyError): void {
    for (const request of this.pending.keys()) this.giveUp(request, error)
  }

  private scheduleSweep(): void {
    if (this.sweepTimer !== undefined || this.closed !== undefined) return
    const onSweep = () => {
      this.sweepTimer = undefined
      this.sweep()
      if (this.pending.size > 0) this.scheduleSweep()
    }
    this.sweepTimer = this.parts.clock.setTimer(limits.sweepMs, onSweep, { keepsAlive: true })
  }

  /** Ends waits whose time is up, and tries again what was put off. */
  private sweep(): void {
    const nowMs = this.parts.clock.nowMs()
    for (const [request, write] of this.pending) {
      if (write.deadlineMs > nowMs) continue
      const outcome = write.confirms ? 'done' : this.own.outcomeOf(request)
      // The primary's own answer says more: it is given the time to arrive.
      if (outcome === 'none' || write.deadlineMs + limits.sweepMs <= nowMs)
        this.giveUp(request, lateError(write.timeoutMs, outcome, this.parts.obstacle))
    }
    this.pump()
  }
}
