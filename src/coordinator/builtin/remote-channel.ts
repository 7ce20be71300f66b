import { decodeMessage, type Message, type MessageName } from '../../codec/messages.js'
import type { Voter as ListedVoter } from '../../codec/voter-entry.js'
import { limits } from '../../core/limits.js'
import type { ShardRecord } from '../../core/record.js'
import { toUnderstudyError, UnderstudyError } from '../../errors.js'
import { Link } from '../../link/link.js'
import type { Clock, Timer } from '../../ports/clock.js'
import type { RecordState, Registration, SwapResult } from '../../ports/coordinator.js'
import type { Transport } from '../../ports/transport.js'
import type { ChannelEvents, OpenChannel, RegisterOptions, VoterChannel } from './channel.js'

export interface RemoteVoter {
  /** From the configuration: where to begin. What the voter says of itself is tried first afterwards (S6). */
  readonly voters: readonly ListedVoter[]
  readonly cluster: string
  readonly node: string
  readonly boot: string
  readonly transport: Transport
  readonly clock: Clock
  /** A voter that says nothing for this long is gone. */
  readonly silenceMs: number
}

/** The way to a voter elsewhere: greeted and checked. */
export function remoteChannel(parts: RemoteVoter): OpenChannel {
  let listed: readonly ListedVoter[] = []
  return async (attempt, signal) => {
    const known = [...listed, ...parts.voters]
    const places = known.filter((one, at) => known.findIndex((other) => other.address === one.address) === at)
    const place = places[attempt % places.length]!
    const connection = await parts.transport.connect(place.address, { timeoutMs: limits.connectTimeoutMs, signal })
    const link = new Link(connection, parts.clock)
    try {
      link.send('coordinatorHello', {
        protocolMin: limits.protocolVersionMin,
        protocolMax: limits.protocolVersion,
        cluster: parts.cluster,
        node: parts.node,
        boot: parts.boot,
      })
      const welcome = await link.expect('coordinatorWelcome', limits.handshakeTimeoutMs, signal)
      if (!known.some((one) => one.node === welcome.voter)) {
        throw new UnderstudyError(
          'CONFIG',
          `expected voter ${place.node}, but ${welcome.voter} answers at ${place.address}`,
          {
            hint: 'check the option coordinator: builtin://NAME=HOST:PORT names the voter and where it listens',
          },
        )
      }
      listed = welcome.voters
      return new RemoteChannel(link, parts, welcome)
    } catch (error) {
      link.close(toUnderstudyError(error, `greeting voter ${place.node}`))
      throw error
    }
  }
}

interface Waiting {
  readonly answer: 'coordinatorState' | 'coordinatorSwapped' | 'coordinatorDone'
  resolve(payload: Uint8Array): void
  refuse(error: UnderstudyError): void
  /** The link is gone. */
  lose(error: UnderstudyError): void
}

class RemoteChannel implements VoterChannel {
  readonly description: string
  readonly voterBoot: string
  readonly coordinatorId: string
  readonly closed: Promise<UnderstudyError | undefined>
  private readonly link: Link
  private readonly clock: Clock
  private readonly waiting = new Map<number, Waiting>()
  private events: ChannelEvents | undefined
  private requests = 0
  private watchdog: Timer | undefined

  constructor(link: Link, parts: RemoteVoter, welcome: Message<'coordinatorWelcome'>) {
    this.link = link
    this.clock = parts.clock
    this.description = `voter ${welcome.voter} at ${link.remote}`
    this.voterBoot = welcome.boot
    this.coordinatorId = welcome.coordinatorId
    this.closed = link.closed.then((error) => {
      this.watchdog?.cancel()
      const lost = error ?? new UnderstudyError('UNAVAILABLE', `${this.description} closed the connection`)
      for (const one of [...this.waiting.values()]) one.lose(lost)
      this.waiting.clear()
      return lost
    })
    link.handle((name, payload) => this.receive(name, payload))
    this.armWatchdog(parts.silenceMs)
  }

  async read(shard: string): Promise<RecordState> {
    const payload = await this.ask('coordinatorState', 'none', (request) =>
      this.link.send('coordinatorRead', { request, shard }),
    )
    const { revision, record } = decodeMessage('coordinatorState', payload)
    return this.state(revision, record)
  }

  async swap(shard: string, expectedRevision: number, next: ShardRecord): Promise<SwapResult> {
    const payload = await this.ask('coordinatorSwapped', 'unknown', (request) =>
      this.link.send('coordinatorSwap', { request, shard, expectedRevision, next }),
    )
    const { swapped, revision, record } = decodeMessage('coordinatorSwapped', payload)
    return { swapped, state: this.state(revision, record) }
  }

  async register(member: Registration, options: RegisterOptions): Promise<void> {
    await this.ask('coordinatorDone', 'none', (request) =>
      this.link.send('coordinatorRegister', { request, member, ...options }),
    )
  }

  async unregister(node: string, boot: string): Promise<void> {
    await this.ask('coordinatorDone', 'none', (request) =>
      this.link.send('coordinatorUnregister', { request, node, boot }),
    )
  }

  async watch(events: ChannelEvents): Promise<void> {
    this.events = events
    await this.ask('coordinatorDone', 'none', (request) => this.link.send('coordinatorWatch', { request }))
  }

  close(): void {
    this.link.close(new UnderstudyError('CLOSED', 'the coordinator was closed'))
  }

  private ask(
    answer: Waiting['answer'],
    outcomeOfLoss: 'none' | 'unknown',
    send: (request: number) => void,
  ): Promise<Uint8Array> {
    if (this.link.isClosed) return Promise.reject(new UnderstudyError('UNAVAILABLE', `${this.description} is gone`))
    this.requests += 1
    const request = this.requests
    return new Promise((resolve, reject) => {
      this.waiting.set(request, {
        answer,
        resolve,
        refuse: reject,
        lose: (error) => reject(lostBy(error, outcomeOfLoss)),
      })
      try {
        send(request)
      } catch (error) {
        // What cannot be encoded has not left.
        this.waiting.delete(request)
        reject(toUnderstudyError(error, 'encoding a request'))
      }
    })
  }

  private receive(name: MessageName | 'block', payload: Uint8Array): void {
    switch (name) {
      case 'coordinatorState':
      case 'coordinatorSwapped':
      case 'coordinatorDone': {
        // The number stands first in each of them.
        const { request } = decodeMessage(name, payload)
        const found = this.take(request)
        if (found.answer !== name) throw new UnderstudyError('PROTOCOL', `${name} answers no ${found.answer}`)
        found.resolve(payload)
        return
      }
      case 'coordinatorRefused': {
        const { request, code, message, hint, outcome } = decodeMessage(name, payload)
        const found = this.take(request)
        found.refuse(new UnderstudyError(code, message, { outcome, ...(hint === undefined ? {} : { hint }) }))
        return
      }
      case 'coordinatorRecord': {
        const { shard, revision, record } = decodeMessage(name, payload)
        this.events?.onRecord(shard, this.state(revision, record))
        return
      }
      case 'coordinatorMembers':
        this.events?.onMembers(decodeMessage(name, payload).members)
        return
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected from a voter`)
    }
  }

  private take(request: number): Waiting {
    const found = this.waiting.get(request)
    if (found === undefined) throw new UnderstudyError('PROTOCOL', `an answer to request ${request}, which is not open`)
    this.waiting.delete(request)
    return found
  }

  private state(revision: number, record: ShardRecord | undefined): RecordState {
    return { coordinatorId: this.coordinatorId, record, revision }
  }

  private armWatchdog(silenceMs: number): void {
    this.watchdog = this.clock.setTimer(silenceMs / 4, () => {
      if (this.link.isClosed) return
      const silentMs = this.link.silentForMs
      if (silentMs > silenceMs) {
        this.link.close(new UnderstudyError('TIMEOUT', `${this.description} was silent for ${Math.round(silentMs)} ms`))
      } else this.armWatchdog(silenceMs)
    })
  }
}

function lostBy(error: UnderstudyError, outcome: 'none' | 'unknown'): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', `the voter was lost before it answered: ${error.message}`, {
    outcome,
    cause: error,
  })
}
