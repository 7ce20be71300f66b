import { decodeMessage, type Message } from '../../codec/messages.js'
import { chooseProtocol } from '../../core/handshake.js'
import { limits } from '../../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../../errors.js'
import type { Link } from '../../link/link.js'
import type { RecordState } from '../../ports/coordinator.js'
import type { Voter } from './voter.js'

/** One node's session at the voter: requests by number, and what it watches. Resolves when the link is closed. */
export async function serveVoterSession(
  voter: Voter,
  link: Link,
  hello: Message<'coordinatorHello'>,
  cluster: string,
): Promise<void> {
  const protocol = chooseProtocol(hello)
  if (typeof protocol !== 'number') {
    link.fail(protocol)
    return
  }
  if (hello.cluster !== cluster) {
    link.fail({
      code: 'CLUSTER_MISMATCH',
      message: `voter ${voter.name} belongs to cluster ${cluster}, the other (${hello.node}) to ${hello.cluster}`,
      hint: 'check the options cluster and coordinator',
    })
    return
  }
  const session = new VoterSession(voter, link)
  try {
    const { name, boot, coordinatorId, voters } = voter
    link.send('coordinatorWelcome', { protocol, voter: name, boot, coordinatorId, voters })
    link.handle((name, payload) => session.receive(name, payload))
    await link.closed
  } finally {
    session.end()
  }
}

class VoterSession {
  private readonly voter: Voter
  private readonly link: Link
  private underWay = 0
  private unwatch: (() => void) | undefined

  constructor(voter: Voter, link: Link) {
    this.voter = voter
    this.link = link
  }

  /** Throws `PROTOCOL`, which ends the link. */
  receive(name: string, payload: Uint8Array): void {
    const { voter } = this
    switch (name) {
      case 'coordinatorRead': {
        const { request, shard } = decodeMessage(name, payload)
        this.answer(request, async () => this.link.send('coordinatorState', { request, ...stateOf(voter.read(shard)) }))
        return
      }
      case 'coordinatorSwap': {
        const { request, shard, expectedRevision, next } = decodeMessage(name, payload)
        this.answer(request, async () => {
          const { swapped, state } = await voter.swap(shard, expectedRevision, next)
          this.link.send('coordinatorSwapped', { request, swapped, ...stateOf(state) })
        })
        return
      }
      case 'coordinatorRegister': {
        const { request, member, ttlMs, takesOver } = decodeMessage(name, payload)
        this.answer(request, async () => {
          voter.register(member, { ttlMs, takesOver })
          this.link.send('coordinatorDone', { request })
        })
        return
      }
      case 'coordinatorUnregister': {
        const { request, node, boot } = decodeMessage(name, payload)
        this.answer(request, async () => {
          voter.unregister(node, boot)
          this.link.send('coordinatorDone', { request })
        })
        return
      }
      case 'coordinatorWatch': {
        const { request } = decodeMessage(name, payload)
        this.answer(request, async () => {
          this.watch()
          this.link.send('coordinatorDone', { request })
        })
        return
      }
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected by a voter`)
    }
  }

  end(): void {
    this.unwatch?.()
    this.unwatch = undefined
  }

  private answer(request: number, work: () => Promise<void>): void {
    if (this.underWay >= limits.voterRequestsMax) {
      throw new UnderstudyError('BACKPRESSURE', `${this.underWay} requests are unanswered; that is the limit`)
    }
    this.underWay += 1
    work()
      .catch((error) => this.refuse(request, toUnderstudyError(error, 'answering a request')))
      .finally(() => {
        this.underWay -= 1
      })
      .catch((error) => this.link.fail(toUnderstudyError(error, 'answering a request')))
  }

  private refuse(request: number, error: UnderstudyError): void {
    const { failure: code, message, hint, outcome } = error
    this.link.send('coordinatorRefused', {
      request,
      code,
      message: message.slice(0, 1000),
      hint: hint?.slice(0, 1000),
      outcome,
    })
  }

  private watch(): void {
    this.unwatch?.()
    const { link, voter } = this
    this.unwatch = voter.watch({
      onRecord: (shard, state) => this.push(() => link.send('coordinatorRecord', { shard, ...stateOf(state) })),
      onMembers: (members) => this.push(() => link.send('coordinatorMembers', { members })),
      onEnd: (error) => link.fail(error),
    })
  }

  /** A watcher that takes nothing in is dropped, not waited for: when it comes back it reads what is true then. */
  private push(send: () => void): void {
    if (this.link.unsentBytes <= limits.voterUnsentBytesMax) send()
    else this.link.fail({ code: 'BACKPRESSURE', message: `${this.link.unsentBytes} bytes were not taken in` })
  }
}

function stateOf(state: RecordState): Pick<RecordState, 'revision' | 'record'> {
  return { revision: state.revision, record: state.record }
}
