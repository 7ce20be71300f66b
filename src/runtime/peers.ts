import type { Message } from '../codec/messages.js'
import { backoffMs } from '../core/backoff.js'
import { limits } from '../core/limits.js'
import type { Epoch } from '../core/position.js'
import type { MemberState } from '../core/takeover.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import type { SwitchoverOptions, SwitchoverResult } from './handle.js'
import { Wake } from './wake.js'

export interface PeerView {
  readonly address: string
  /** The last answer, with the time since; undefined before the first. */
  readonly state: (MemberState & { readonly applied: number; readonly primaryAddress: string }) | undefined
  readonly seenMs: number | undefined
  readonly reachable: boolean
  readonly lastError: UnderstudyError | undefined
}

/** Opens a control session: dialled, authenticated, greeted and checked. */
export type DialControl = (member: MemberAddress, signal: AbortSignal) => Promise<Link>

/** What the session with each member needs. */
interface PeerParts {
  readonly dial: DialControl
  /** How often it is asked, and how long its last answer counts. */
  readonly pollMs: number
  readonly silenceMs: number
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly onState: (state: MemberState) => Promise<void>
  readonly onChange: () => void
}

/**
 * Keeps a control session with every other member and asks for its state all the time: who is primary, which epochs
 * were promised, how far everybody is. What it learns wakes the shard.
 */
export class Peers {
  private readonly peers = new Map<string, Peer>()
  private readonly parts: PeerParts
  private readonly leaving = new Set<Promise<void>>()
  private started = false
  private closed = false

  constructor(parts: PeerParts & { readonly members: readonly MemberAddress[] }) {
    this.parts = parts
    this.update(parts.members)
  }

  start(): void {
    this.started = true
    for (const peer of this.peers.values()) peer.start()
  }

  /** Members that are new get a session, those that moved another one; nobody loses one by not being named. */
  update(members: readonly MemberAddress[]): void {
    if (this.closed) return
    for (const member of members) {
      const before = this.peers.get(member.node)
      if (before?.view.address === member.address) continue
      if (before === undefined && this.peers.size >= limits.membersMax) {
        this.parts.logger.warn({ member: member.node, limit: limits.membersMax }, 'too many members: not followed')
        continue
      }
      if (before !== undefined) {
        const closing = before.close().finally(() => this.leaving.delete(closing))
        this.leaving.add(closing)
      }
      const peer = new Peer({ ...this.parts, member })
      this.peers.set(member.node, peer)
      if (this.started) peer.start()
    }
  }

  view(node: string): PeerView | undefined {
    return this.peers.get(node)?.view
  }

  /** What a member has answered within the silence limit. */
  answer(node: string): MemberState | undefined {
    return this.peers.get(node)?.answer
  }

  get views(): ReadonlyArray<PeerView & { readonly node: string }> {
    return [...this.peers].map(([node, peer]) => ({ node, ...peer.view }))
  }

  /** Members that have answered within the silence limit. */
  get answers(): readonly MemberState[] {
    const answers: MemberState[] = []
    for (const peer of this.peers.values()) {
      const { answer } = peer
      if (answer !== undefined) answers.push(answer)
    }
    return answers
  }

  /** Asks everybody at once, now; those that do not answer in time are left out. */
  async ask(
    question: { readonly fence?: Epoch; readonly only?: ReadonlySet<string>; readonly timeoutMs?: number } = {},
  ): Promise<MemberState[]> {
    const asked = [...this.peers].map(async ([node, peer]) => {
      if (question.only?.has(node) === false) return undefined
      try {
        return await peer.ask(question.fence, question.timeoutMs ?? limits.peerSilenceMs)
      } catch {
        // Said in the peer's view; whoever asks counts only those that answer.
        return undefined
      }
    })
    return (await Promise.all(asked)).filter((state) => state !== undefined)
  }

  /** Has the primary hand over; `undefined`: nobody knows who that is. */
  async switchover(primary: string | undefined, options: SwitchoverOptions): Promise<SwitchoverResult> {
    const peer = primary === undefined ? undefined : this.peers.get(primary)
    if (peer === undefined) throw new UnderstudyError('SWITCHOVER_REFUSED', 'there is no primary to hand over')
    return peer.switchover(options)
  }

  pin(slot: string, sequence: number): void {
    for (const peer of this.peers.values()) peer.pin(slot, sequence)
  }

  async close(): Promise<void> {
    this.closed = true
    await Promise.all([...this.leaving, ...[...this.peers.values()].map((peer) => peer.close())])
  }
}

class Peer {
  private readonly parts: PeerParts & { readonly member: MemberAddress }
  private readonly wake: Wake
  private readonly abort = new AbortController()
  private link: Link | undefined
  private state: PeerView['state']
  private seenMs: number | undefined
  private lastError: UnderstudyError | undefined
  private running: Promise<void> | undefined
  /** Attempts to open a session that have ended. */
  private attempts = 0
  /** One question at a time on the link. */
  private turn: Promise<unknown> = Promise.resolve()

  constructor(parts: Peer['parts']) {
    this.parts = parts
    this.wake = new Wake(parts.clock)
  }

  get view(): PeerView {
    return {
      address: this.parts.member.address,
      state: this.state,
      seenMs: this.seenMs === undefined ? undefined : this.parts.clock.nowMs() - this.seenMs,
      reachable: this.isReachable,
      lastError: this.lastError,
    }
  }

  /** The last one, while it counts. */
  get answer(): MemberState | undefined {
    return this.state !== undefined && this.isReachable ? this.state : undefined
  }

  private get isReachable(): boolean {
    if (this.seenMs === undefined || this.link === undefined || this.link.isClosed) return false
    return this.parts.clock.nowMs() - this.seenMs < this.parts.silenceMs
  }

  start(): void {
    this.running ??= this.run()
  }

  /**
   * Uses the session that stands, or waits for one more attempt to open it: a node that is down answers nobody. A
   * session that breaks under the question may have been dead before: the question is put once more on a new one.
   */
  async ask(fence: Epoch | undefined, timeoutMs: number): Promise<MemberState> {
    const deadlineMs = this.parts.clock.nowMs() + timeoutMs
    for (;;) {
      const link = await this.session(deadlineMs)
      try {
        return await this.within(deadlineMs, this.question(link, fence))
      } catch (error) {
        if (!link.isClosed || this.parts.clock.nowMs() > deadlineMs || this.abort.signal.aborted) throw error
      }
    }
  }

  /** Whoever asks has no longer time than that; the question stays put, and its answer still counts for the view. */
  private within<T>(deadlineMs: number, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new UnderstudyError('TIMEOUT', `${this.parts.member.node} did not answer in time`))
      const timer = this.parts.clock.setTimer(Math.max(1, deadlineMs - this.parts.clock.nowMs()), late)
      answer.then(resolve, reject).finally(() => timer.cancel())
    })
  }

  private async session(deadlineMs: number): Promise<Link> {
    const attempts = this.attempts
    this.wake.signal()
    while (this.link === undefined || this.link.isClosed) {
      // The attempt under way may have begun before the question; the one after it has not.
      if (this.attempts >= attempts + 2 || this.parts.clock.nowMs() > deadlineMs || this.abort.signal.aborted) {
        throw this.lastError ?? new UnderstudyError('UNAVAILABLE', `${this.parts.member.node} does not answer`)
      }
      await new Promise<void>((resolve) => {
        this.parts.clock.setTimer(limits.sweepMs, resolve)
      })
      this.wake.signal()
    }
    return this.link
  }

  /** On a session of its own: the answer takes as long as the switchover. */
  async switchover(options: SwitchoverOptions): Promise<SwitchoverResult> {
    const { to = '', timeoutMs = limits.switchoverTimeoutMs, signal } = options
    const link = await this.parts.dial(this.parts.member, signal ?? this.abort.signal)
    try {
      link.send('switchover', { to, timeoutMs })
      const answer = await link.expect('switchedOver', timeoutMs + limits.requestTimeoutMs, signal)
      if (answer.failure !== undefined) {
        const { code, message, hint, outcome } = answer.failure
        throw new UnderstudyError(code, message, { outcome, ...(hint === undefined ? {} : { hint }) })
      }
      if (answer.epoch === undefined) throw new UnderstudyError('PROTOCOL', 'a switchover without an epoch')
      return { epoch: answer.epoch, primary: answer.primary, pauseMs: answer.pauseMs }
    } catch (error) {
      // Once it was sent, only an answer says what became of it.
      const failure = toUnderstudyError(error, 'switchover')
      throw failure.failure === 'SWITCHOVER_REFUSED' ? failure : failure.withOutcome('unknown')
    } finally {
      link.close()
    }
  }

  pin(slot: string, sequence: number): void {
    this.link?.send('pin', { slot, sequence })
  }

  async close(): Promise<void> {
    this.abort.abort()
    this.wake.signal()
    this.link?.close()
    await this.running
  }

  private async run(): Promise<void> {
    let attempt = 0
    while (!this.abort.signal.aborted) {
      try {
        const link = await this.parts.dial(this.parts.member, this.abort.signal)
        this.link = link
        // Closed while it was opened: nobody else knows this link yet.
        if (this.abort.signal.aborted) link.close()
        attempt = 0
        while (!link.isClosed && !this.abort.signal.aborted) {
          await this.question(link, undefined)
          await this.wake.wait(this.parts.pollMs)
        }
        this.lastError = await link.closed
      } catch (error) {
        this.lastError = toUnderstudyError(error, `asking ${this.parts.member.node}`)
        this.link?.close()
      }
      this.link = undefined
      this.attempts += 1
      this.parts.onChange()
      if (this.abort.signal.aborted) return
      this.parts.logger.debug(
        { member: this.parts.member.node, error: this.lastError?.message },
        'member does not answer',
      )
      await this.wake.wait(
        backoffMs(attempt, limits.reconnectMinMs, limits.reconnectMaxMs / 5, this.parts.random.next()),
      )
      attempt += 1
    }
  }

  private question(link: Link, fence: Epoch | undefined): Promise<MemberState> {
    const result = this.turn.then(async () => {
      // An answer proves that the member was there when it was asked, not when the answer came (L3).
      const askedMs = this.parts.clock.nowMs()
      if (fence === undefined) link.send('query', {})
      else link.send('fence', { epoch: fence })
      // Closing ends the link, and with it the wait.
      const answer = await link.expect('state', limits.requestTimeoutMs)
      this.state = stateOf(answer)
      this.seenMs = askedMs
      this.lastError = undefined
      await this.parts.onState(this.state)
      this.parts.onChange()
      return this.state
    })
    this.turn = result.catch((error) => link.close(toUnderstudyError(error, `asking ${this.parts.member.node}`)))
    return result
  }
}

function stateOf(message: Message<'state'>): NonNullable<PeerView['state']> {
  return message
}
