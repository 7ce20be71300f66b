import { encodeBlock, entryBytes } from '../codec/block.js'
import type { Entry, Operation, Origin } from '../core/entry.js'
import type { FailureCode } from '../core/failure.js'
import type { InSyncState } from '../core/in-sync.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Journal } from '../ports/journal.js'
import type { Tracer } from '../ports/tracer.js'
import type { WriteOptions } from './handle.js'
import { type BlockTimes, WriteTrace } from './write-trace.js'

interface PendingWrite extends Entry {
  readonly bytes: number
  readonly deadlineMs: number
  readonly waitFor: WriteOptions['waitFor']
  readonly submittedMs: number
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
  readonly signal: AbortSignal | undefined
  /** May go on elsewhere when the role ends. */
  readonly movable: boolean
  settled: boolean
  /** Stops listening to the caller's signal, which may live much longer than the write. */
  unwatch: (() => void) | undefined
  readonly trace: WriteTrace | undefined
}

/** A write that its role left behind unanswered, on its way to whoever takes it over. */
export interface LeftWrite
  extends Pick<
    PendingWrite,
    'operations' | 'origin' | 'request' | 'waitFor' | 'deadlineMs' | 'signal' | 'resolve' | 'reject'
  > {
  /** `gathered`: never appended. `applied`: here, and only what was asked for beyond a commit is missing. */
  readonly fate: 'gathered' | 'appended' | 'committed' | 'applied'
  /** End of its block, once it has one. */
  readonly end: Position | undefined
}

interface BlockInFlight {
  readonly end: Position
  readonly writes: readonly PendingWrite[]
  /** Only where one of the writes is traced. */
  readonly times: BlockTimes | undefined
}

export interface WriteQueueParts {
  readonly journal: Journal
  readonly inSync: InSyncState
  readonly clock: Clock
  readonly onBlock: () => void
  readonly observe: { commitSeconds(seconds: number): void; blockEntries(entries: number): void }
  readonly applied: () => number
  /** Absent: what is committed may be answered. Else it is asked after the fsync; until it says yes, writes wait (L3). */
  readonly mayAnswer?: (() => boolean) | undefined
  /** True if somebody else answers the write from now on. */
  readonly takeOver: (write: LeftWrite) => boolean
  /** An invariant of ours does not hold: the shard must stop, not the process. */
  readonly onFailed: (error: unknown) => void
  readonly tracer?: Tracer | undefined
}

/**
 * The primary's write path. Writes gather while the journal flushes the block before; a block is closed as soon as
 * the journal is free, so that one fsync carries everybody who came meanwhile. A write is answered when its block
 * is committed and applied here, or with a coded error that says what may have become of it.
 */
export class WriteQueue {
  private readonly parts: WriteQueueParts
  private gathered: PendingWrite[] = []
  private gatheredBytes = 0
  private readonly inFlight: BlockInFlight[] = []
  private writesWaiting = 0
  private cutScheduled = false
  private paused = false
  private sweepTimer: Timer | undefined
  private ended: UnderstudyError | undefined
  /** Writes have timed out and nothing was committed since: further ones are refused at once (C9). */
  private stalledAt: number | undefined

  constructor(parts: WriteQueueParts) {
    this.parts = parts
  }

  submit(operations: readonly Operation[], origin: Origin, request: number, options: WriteOptions): Promise<Position> {
    if (this.ended !== undefined) return Promise.reject(this.endedFor('none'))
    const bytes = entryBytes(operations)
    const refusal = this.refuse(bytes)
    if (refusal !== undefined) return Promise.reject(refusal)
    const { signal } = options
    if (signal?.aborted)
      return Promise.reject(new UnderstudyError('ABORTED', 'the write was aborted before it was sent'))
    return new Promise((resolve, reject) => {
      const nowMs = this.parts.clock.nowMs()
      const write: PendingWrite = {
        operations,
        origin,
        request,
        bytes,
        deadlineMs: nowMs + (options.timeoutMs ?? limits.writeTimeoutMs),
        waitFor: options.waitFor,
        submittedMs: nowMs,
        resolve,
        reject,
        signal,
        movable: options.forward !== false,
        settled: false,
        unwatch: undefined,
        trace: WriteTrace.begin(this.parts.tracer, this.parts.clock, () => ({
          'understudy.origin': origin.node,
          'understudy.operations': operations.length,
          'understudy.bytes': bytes,
        })),
      }
      if (signal !== undefined) this.watchAbort(write, signal)
      this.gathered.push(write)
      this.gatheredBytes += bytes
      this.writesWaiting += 1
      this.scheduleCut()
      this.scheduleSweep()
    })
  }

  /** The first block of an epoch: an entry without operations, alone in its block. */
  appendEpochStart(origin: Origin, request: number): void {
    this.append([{ operations: [], origin, request }], true)
  }

  /** The journal has flushed: the next block can be closed. */
  onFlushed(): void {
    this.noteTimes()
    this.cut()
  }

  /** Something was committed or applied, here or elsewhere. */
  onProgress(): void {
    const { inSync } = this.parts
    if (this.stalledAt !== undefined && inSync.committed > this.stalledAt) this.stalledAt = undefined
    this.noteTimes()
    if (this.parts.mayAnswer?.() !== false) this.answerApplied()
    if (this.gathered.length > 0) this.scheduleCut()
  }

  /** How far blocks with traced writes are. */
  private noteTimes(): void {
    if (this.parts.tracer === undefined) return
    for (const { end, times } of this.inFlight) {
      if (times === undefined) continue
      if (this.parts.journal.durable.sequence >= end.sequence) times.flushedMs ??= this.parts.clock.nowMs()
      if (this.parts.inSync.committed >= end.sequence) times.committedMs ??= this.parts.clock.nowMs()
    }
  }

  private answerApplied(): void {
    const applied = this.parts.applied()
    let answered = 0
    for (const [index, block] of this.inFlight.entries()) {
      if (block.end.sequence > applied) break
      if (this.answer(block) && answered === index) answered += 1
    }
    if (answered > 0) this.inFlight.splice(0, answered)
  }

  /** Answers the writes of an applied block; true if none of them waits for more. */
  private answer(block: BlockInFlight): boolean {
    const { inSync } = this.parts
    let waiting = 0
    for (const write of block.writes) {
      if (write.settled) continue
      if (write.waitFor === 'applied' && inSync.appliedEverywhere < block.end.sequence) waiting += 1
      else if (write.waitFor === 'standby' && inSync.durableOnStandby < block.end.sequence) waiting += 1
      else this.settle(write, block.end)
    }
    return waiting === 0
  }

  /** Blocks on their way to being committed; those that only wait to be applied elsewhere do not hold up others. */
  private get uncommittedBlocks(): number {
    const { committed } = this.parts.inSync
    let count = 0
    for (let index = this.inFlight.length - 1; index >= 0 && this.inFlight[index]!.end.sequence > committed; index--)
      count += 1
    return count
  }

  /** Writes gather; no block is begun until `resume`. */
  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    if (this.gathered.length > 0) this.scheduleCut()
  }

  /**
   * Ends the role: what was never appended has not happened, what was may still be in the new history. Writes of this
   * node that may go elsewhere are handed over in this very turn, before anything further is applied.
   */
  end(code: FailureCode, message: string): void {
    if (this.ended !== undefined) return
    this.ended = new UnderstudyError(code, message)
    this.sweepTimer?.cancel()
    const applied = this.parts.applied()
    for (const block of this.inFlight) {
      const { sequence } = block.end
      const fate = sequence <= applied ? 'applied' : sequence <= this.parts.inSync.committed ? 'committed' : 'appended'
      for (const write of block.writes) {
        // What is committed here alone may be missing in the next epoch, and then be undone here: nobody sees which.
        if (this.isSettled) this.leave(write, fate, block.end)
        else this.settle(write, this.endedFor('unknown'))
      }
    }
    this.inFlight.length = 0
    for (const write of this.gathered) this.leave(write, 'gathered', undefined)
    this.gathered = []
  }

  private leave(write: PendingWrite, fate: LeftWrite['fate'], end: Position | undefined): void {
    if (write.settled) return
    if (write.movable && this.parts.takeOver({ ...write, fate, end })) {
      write.settled = true
      write.unwatch?.()
      write.trace?.move()
      this.writesWaiting -= 1
      return
    }
    this.settle(write, this.endedFor(fate === 'gathered' ? 'none' : fate === 'appended' ? 'unknown' : 'done'))
  }

  /** False where what is committed here may be missing in the next epoch: then its outcome is not known. */
  private get isSettled(): boolean {
    return this.parts.mayAnswer === undefined
  }

  private endedFor(outcome: 'none' | 'unknown' | 'done'): UnderstudyError {
    const ended = this.ended!
    return new UnderstudyError(ended.failure, ended.message, {
      outcome,
      hint: outcome === 'none' ? 'send the write to the new primary' : 'read the key back before you repeat the write',
    })
  }

  /** False where writes gather behind nothing but a pause, or promises at `local`, that is over: no commit would tell. */
  private get stillStalled(): boolean {
    if (this.stalledAt === undefined) return false
    return this.uncommittedBlocks > 0 || this.paused || this.parts.mayAnswer?.() === false
  }

  /** What writes that are not answered wait for, as their errors say it. */
  private get awaited(): string {
    if (this.paused) return 'the end of a switchover, which the coordinator decides'
    if (this.parts.mayAnswer?.() === false) return 'promises of the other members'
    const { missing, largeEnough } = this.parts.inSync
    if (missing.length > 0) return missing.map((member) => member.node).join(', ')
    return largeEnough ? 'the in-sync set' : 'more in-sync members'
  }

  private refuse(bytes: number): UnderstudyError | undefined {
    if (!this.stillStalled) this.stalledAt = undefined
    else {
      return new UnderstudyError('BACKPRESSURE', `writes wait for ${this.awaited}; this one was not taken`, {
        hint: this.paused
          ? 'it ends by itself; if the coordinator is away, when that is back: see `understudy status`'
          : 'start the missing node, or remove it from the in-sync set with `understudy in-sync --remove`',
      })
    }
    if (this.gathered.length >= limits.writesQueuedMax || this.gatheredBytes + bytes > limits.writeBytesQueuedMax) {
      return new UnderstudyError(
        'BACKPRESSURE',
        `${this.gathered.length} writes (${this.gatheredBytes} bytes) are queued already; this one was not taken`,
        { hint: 'wait for writes to be answered before sending more' },
      )
    }
    return undefined
  }

  private watchAbort(write: PendingWrite, signal: AbortSignal): void {
    const onAbort = () => {
      if (write.settled) return
      const queued = this.gathered.indexOf(write)
      if (queued >= 0) {
        this.gathered.splice(queued, 1)
        this.gatheredBytes -= write.bytes
      }
      this.settle(
        write,
        new UnderstudyError('ABORTED', 'the write was aborted', { outcome: queued >= 0 ? 'none' : 'unknown' }),
      )
    }
    signal.addEventListener('abort', onAbort, { once: true })
    write.unwatch = () => signal.removeEventListener('abort', onAbort)
  }

  private scheduleCut(): void {
    if (this.cutScheduled) return
    this.cutScheduled = true
    this.parts.clock.defer(() => {
      this.cutScheduled = false
      this.cut()
    })
  }

  private cut(): void {
    try {
      this.cutBlocks()
    } catch (error) {
      this.parts.onFailed(error)
    }
  }

  private cutBlocks(): void {
    while (this.gathered.length > 0 && this.ended === undefined && !this.paused) {
      const { journal } = this.parts
      const full = this.gatheredBytes >= limits.blockBytesTarget
      if (this.uncommittedBlocks >= limits.blocksInFlightMax) return
      // What could be lost as a whole does not grow while nothing of it may be answered.
      if (!this.isSettled && this.inFlight.length >= limits.blocksInFlightMax && !this.parts.mayAnswer!()) return
      if (journal.pendingBytes > (full ? 2 * limits.blockBytesTarget : 0)) return
      let count = 0
      let bytes = 0
      while (count < this.gathered.length && count < limits.blockEntriesMax) {
        const next = this.gathered[count]!
        if (count > 0 && bytes + next.bytes > limits.blockBytesTarget) break
        bytes += next.bytes
        count += 1
      }
      const writes = this.gathered.splice(0, count)
      this.gatheredBytes -= bytes
      const end = this.append(writes, false)
      this.inFlight.push({ end, writes, times: this.timesOf(writes) })
    }
  }

  private timesOf(writes: readonly PendingWrite[]): BlockTimes | undefined {
    if (this.parts.tracer === undefined) return undefined
    const traces = writes.flatMap((write) => write.trace ?? [])
    if (traces.length === 0) return undefined
    const times = { appendedMs: this.parts.clock.nowMs(), flushedMs: undefined, committedMs: undefined }
    for (const trace of traces) trace.block = times
    return times
  }

  private append(entries: readonly Entry[], epochStart: boolean): Position {
    const { journal, inSync, clock } = this.parts
    const appended = journal.appended
    invariant(epochStart || appended.sequence >= inSync.epochStart, 'an epoch begins with its epoch-start block')
    const block = encodeBlock({
      epoch: inSync.epoch,
      firstSequence: appended.sequence + 1,
      timestampMs: clock.wallMs(),
      // What is announced is applied here: whoever hears of it never reads older data from this node (I7).
      committed: Math.min(inSync.committed, this.parts.applied(), appended.sequence),
      flushedBefore: journal.durable.sequence,
      chainBefore: appended.chain,
      epochStart,
      entries,
    })
    journal.append([block])
    this.parts.observe.blockEntries(entries.length)
    this.parts.onBlock()
    return block.end
  }

  private settle(write: PendingWrite, outcome: Position | Error): void {
    if (write.settled) return
    write.settled = true
    write.unwatch?.()
    this.writesWaiting -= 1
    write.trace?.end(outcome instanceof Error ? { error: outcome } : { sequence: outcome.sequence })
    if (outcome instanceof Error) write.reject(outcome)
    else {
      this.parts.observe.commitSeconds((this.parts.clock.nowMs() - write.submittedMs) / 1000)
      write.resolve(outcome)
    }
  }

  private scheduleSweep(): void {
    if (this.sweepTimer !== undefined || this.ended !== undefined) return
    const onSweep = () => {
      this.sweepTimer = undefined
      this.sweep()
      if (this.writesWaiting > 0) this.scheduleSweep()
    }
    this.sweepTimer = this.parts.clock.setTimer(limits.sweepMs, onSweep, { keepsAlive: true })
  }

  /** Ends waits whose time is up: `none` for writes that were never appended, `unknown` or `done` for the others. */
  private sweep(): void {
    const nowMs = this.parts.clock.nowMs()
    const { inSync } = this.parts
    const waitsFor = this.awaited
    // An impatient caller alone is no sign of a stall: others go on being served.
    const isStalled = (write: PendingWrite) =>
      inSync.missing.length > 0 || !inSync.largeEnough || nowMs - write.submittedMs > limits.peerSilenceMs
    for (const block of this.inFlight) {
      for (const write of block.writes) {
        if (write.settled || write.deadlineMs > nowMs) continue
        const committed = block.end.sequence <= inSync.committed
        if (!committed && isStalled(write)) this.stalledAt = inSync.committed
        this.settle(
          write,
          new UnderstudyError('ACK_TIMEOUT', `not acknowledged in time: waiting for ${waitsFor}`, {
            outcome: committed && this.isSettled ? 'done' : 'unknown',
            hint: 'the write may still be committed: read the key back before you repeat it',
          }),
        )
      }
    }
    while (
      this.inFlight[0]?.writes.every((write) => write.settled) &&
      this.inFlight[0].end.sequence <= inSync.committed
    ) {
      this.inFlight.shift()
    }
    const late = this.gathered.filter((write) => write.deadlineMs <= nowMs)
    if (late.length === 0) return
    this.gathered = this.gathered.filter((write) => write.deadlineMs > nowMs)
    for (const write of late) {
      this.gatheredBytes -= write.bytes
      if (isStalled(write)) this.stalledAt = inSync.committed
      this.settle(
        write,
        new UnderstudyError('ACK_TIMEOUT', `not taken in time: blocks before it wait for ${waitsFor}`, {
          outcome: 'none',
        }),
      )
    }
  }
}
