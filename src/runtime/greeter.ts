import type { Message } from '../codec/messages.js'
import type { Failure } from '../core/failure.js'
import { chooseProtocol, refuseEpoch, refuseIdentity } from '../core/handshake.js'
import { limits } from '../core/limits.js'
import { formatEpoch } from '../core/position.js'
import { errorFromFailure, UnderstudyError } from '../errors.js'
import { Link } from '../link/link.js'
import type { ShardContext } from './shard-context.js'

export type Purpose = Message<'hello'>['purpose']

/** Both halves of the handshake: who each side is, that they belong together, and which epochs they have seen. */
export class Greeter {
  private readonly context: ShardContext
  /** A higher epoch was seen: durable here when it resolves. */
  private readonly observe: (promised: Message<'hello'>['promised']) => Promise<void>

  constructor(context: ShardContext, observe: Greeter['observe']) {
    this.context = context
    this.observe = observe
  }

  /** Connects, greets and checks the answer. `node` is who must answer there; undefined accepts anyone. */
  async dial(
    target: { readonly node: string | undefined; readonly address: string },
    purpose: Purpose,
    signal: AbortSignal,
  ): Promise<{ readonly link: Link; readonly welcome: Message<'welcome'> }> {
    const { context } = this
    const connection = await context.parts.transport.connect(target.address, {
      timeoutMs: limits.connectTimeoutMs,
      signal,
    })
    const link = new Link(connection, context.clock)
    try {
      link.send('hello', this.hello(purpose))
      const welcome = await link.expect('welcome', limits.handshakeTimeoutMs, signal)
      const failure = this.refuseWelcome(welcome, target.node)
      if (failure !== undefined) throw errorFromFailure(failure)
      link.protocol = welcome.protocol
      await this.observe(welcome.promised)
      return { link, welcome }
    } catch (error) {
      if (error instanceof UnderstudyError) link.fail(error)
      else link.close()
      throw error
    }
  }

  /** Checks who called; answers and returns true, or says why not. */
  async receive(link: Link, hello: Message<'hello'>): Promise<boolean> {
    const { context } = this
    const protocol = chooseProtocol(hello)
    if (typeof protocol !== 'number') {
      link.fail(protocol)
      return false
    }
    const failure = refuseIdentity(this.identity(), hello)
    if (failure !== undefined) {
      link.fail(failure)
      return false
    }
    link.protocol = protocol
    await this.observe(hello.promised)
    const refusal = this.refusePurpose(hello)
    if (refusal !== undefined) {
      link.fail(refusal)
      return false
    }
    const state = context.stateMessage()
    link.send('welcome', {
      protocol,
      node: context.config.node,
      incarnation: state.member.incarnation,
      boot: context.config.boot,
      state: state.state,
      historyId: state.historyId,
      promised: state.promised,
      record: state.record,
      durable: state.durable,
      committed: state.committed,
    })
    return true
  }

  private refusePurpose(hello: Message<'hello'>): Failure | undefined {
    const { context } = this
    if (hello.purpose === 'control') return undefined
    if (hello.purpose === 'follow' && !context.leads()) {
      const record = context.newestRecord
      return {
        code: 'NOT_PRIMARY',
        message: `${context.config.node} is not the primary (${context.state}, promised epoch ${formatEpoch(context.promised)})`,
        hint: record === undefined ? 'there is no primary yet' : `the newest record names ${record.primary.node}`,
      }
    }
    if (hello.purpose === 'follow') {
      const stale = refuseEpoch(context.primary!.epoch, hello.promised, hello.node)
      if (stale !== undefined) return stale
    }
    if (context.data === undefined || context.failure !== undefined) {
      return { code: 'NOT_READY', message: `${context.config.node} has no data to serve (${context.state})` }
    }
    if (hello.purpose === 'verify' && context.state === 'fenced') {
      return { code: 'NOT_READY', message: `${context.config.node} is fenced and applies nothing: ${context.reason}` }
    }
    return undefined
  }

  private hello(purpose: Purpose): Message<'hello'> {
    const { context } = this
    return {
      protocolMin: limits.protocolVersionMin,
      protocolMax: limits.protocolVersion,
      cluster: context.config.cluster,
      node: context.config.node,
      incarnation: context.self?.incarnation ?? '0'.repeat(32),
      boot: context.config.boot,
      shard: context.config.name,
      purpose,
      historyId: context.historyId,
      coordinatorId: context.record?.coordinatorId,
      settings: context.config.settings,
      promised: context.promised,
      advertise: context.config.advertise(),
    }
  }

  private identity() {
    const { context } = this
    return {
      cluster: context.config.cluster,
      node: context.config.node,
      shard: context.config.name,
      historyId: context.historyId,
      coordinatorId: context.record?.coordinatorId,
      settings: context.config.settings,
    }
  }

  /** The other side has checked what we said; here what it said is held against what we know. */
  private refuseWelcome(welcome: Message<'welcome'>, expected: string | undefined): Failure | undefined {
    if (expected !== undefined && welcome.node !== expected) {
      return {
        code: 'CONFIG',
        message: `expected node ${expected}, but ${welcome.node} answers at its address`,
        hint: 'check the addresses of the members in the option coordinator',
      }
    }
    const own = this.identity()
    return refuseIdentity(own, {
      ...own,
      node: welcome.node,
      historyId: welcome.historyId,
      coordinatorId: welcome.record?.coordinatorId,
      settings: welcome.record?.settings ?? own.settings,
    })
  }
}
