import type { Message } from '../codec/messages.js'
import { Pacer } from '../core/checkpoint-transfer.js'
import { limits } from '../core/limits.js'
import type { Epoch } from '../core/position.js'
import type { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import { serveControl } from './control-session.js'
import { FollowerSession } from './follower-session.js'
import type { Greeter } from './greeter.js'
import type { SwitchoverOptions, SwitchoverResult } from './handle.js'
import type { ShardContext } from './shard-context.js'
import { standbySlot } from './slots.js'
import { SourceSession } from './source-session.js'
import { VerifySession } from './verify-session.js'

/** The sessions that others have opened with this shard. */
export class ShardSessions {
  private readonly context: ShardContext
  private readonly greeter: Greeter
  private readonly observeEpoch: (epoch: Epoch) => Promise<void>
  private readonly switchover: (options: SwitchoverOptions) => Promise<SwitchoverResult>
  private readonly followersByNode = new Map<string, FollowerSession>()
  /** Of all bootstraps together. */
  private readonly pacer: Pacer
  private readonly sources = new Map<SourceSession, Link>()
  private readonly verifies = new Set<Link>()

  constructor(
    context: ShardContext,
    greeter: Greeter,
    observeEpoch: (epoch: Epoch) => Promise<void>,
    switchover: (options: SwitchoverOptions) => Promise<SwitchoverResult>,
  ) {
    this.context = context
    this.greeter = greeter
    this.observeEpoch = observeEpoch
    this.switchover = switchover
    this.pacer = new Pacer(context.config.bootstrapSourceMaxBytesPerSecond)
  }

  get followers(): readonly FollowerSession[] {
    return [...this.followersByNode.values()]
  }

  /** Serves a connection whose first frame named this shard; resolves when it ends. */
  async accept(link: Link, hello: Message<'hello'>): Promise<void> {
    const { context } = this
    if (context.stopping) return link.fail({ code: 'CLOSED', message: `${context.config.node} is stopping` })
    if (hello.purpose === 'source' && this.sources.size >= limits.snapshotsMax) {
      return link.fail({ code: 'BACKPRESSURE', message: `${this.sources.size} bootstraps are served already` })
    }
    if (hello.purpose === 'verify' && this.verifies.size >= limits.verifySessionsMax) {
      return link.fail({ code: 'BACKPRESSURE', message: `${this.verifies.size} comparisons are under way here` })
    }
    if (!(await this.greeter.receive(link, hello))) return
    switch (hello.purpose) {
      case 'control':
        return serveControl(link, {
          state: () => context.stateMessage(),
          promise: (epoch) => this.observeEpoch(epoch),
          switchover: (options) => this.switchover(options),
          pin: async (slot, sequence) => {
            if (sequence === 0) await context.slots?.release(slot)
            else await context.slots?.hold(slot, sequence)
          },
        })
      case 'follow':
        return this.serveFollower(link, hello)
      case 'source':
        return this.serveSource(link)
      case 'verify':
        return this.serveVerify(link, hello)
    }
  }

  /** Applied has advanced: bootstraps may be shown more of the journal. */
  pumpSources(): void {
    for (const source of this.sources.keys()) source.pump()
  }

  /** The data that is read from goes away. */
  closeSources(error: UnderstudyError): void {
    for (const link of this.sources.values()) link.close(error)
    for (const link of this.verifies) link.fail(error)
  }

  private async serveFollower(link: Link, hello: Message<'hello'>): Promise<void> {
    const { context } = this
    const { primary, data, slots } = context
    if (primary === undefined || data === undefined || slots === undefined) return link.close()
    const session = new FollowerSession({
      link,
      hello,
      role: primary,
      journal: data.journal,
      clock: context.clock,
      holdSlot: (sequence) => slots.note(standbySlot(hello.node), sequence),
      onEnd: () => {
        if (this.followersByNode.get(hello.node) === session) this.followersByNode.delete(hello.node)
      },
    })
    this.followersByNode.set(hello.node, session)
    if (context.followPace !== undefined) link.setPace(context.followPace)
    await session.run()
  }

  private async serveSource(link: Link): Promise<void> {
    const { context } = this
    const { data, slots } = context
    if (data === undefined || slots === undefined) return link.close()
    const session = new SourceSession({
      link,
      journal: data.journal,
      engine: data.engine,
      clock: context.clock,
      record: () => context.record!,
      committed: () => data.committed,
      holdSlot: (slot, sequence) => slots.hold(slot, sequence),
      checkpoints: context.checkpoints,
      format: context.parts.engines.files?.format,
      pacer: this.pacer,
      logger: context.logger,
    })
    this.sources.set(session, link)
    try {
      await session.run()
    } finally {
      this.sources.delete(session)
    }
  }

  private async serveVerify(link: Link, hello: Message<'hello'>): Promise<void> {
    const { context } = this
    const { data } = context
    if (data === undefined) return link.close()
    this.verifies.add(link)
    try {
      await new VerifySession({ link, data, clock: context.clock, hello }).run()
    } finally {
      this.verifies.delete(link)
    }
  }
}
