import { decodeMessage } from '../codec/messages.js'
import { limits } from '../core/limits.js'
import { epochZero, formatPosition, higherEpoch, type Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { MemberAddress } from '../ports/coordinator.js'
import { awake } from './awake.js'
import { Greeter } from './greeter.js'
import type { BootstrapStatus } from './handle.js'
import type { NodeParts } from './node.js'
import { takeDirectory } from './node-directory.js'
import { Peers } from './peers.js'
import { createShardBootstrap } from './shard-bootstrap.js'
import { ShardContext } from './shard-context.js'
import { ShardStore, type Superblock } from './shard-store.js'

export interface DirectoryBootstrapOptions {
  /** A member of the parts' coordinator; it says which history is built. */
  readonly source: MemberAddress
  /** Gives up data that is there; it stays until the new data is installed. */
  readonly replace: boolean
  readonly onProgress: (status: BootstrapStatus) => void
  readonly signal: AbortSignal
}

export interface DirectoryBootstrapResult {
  /** `present`: the directory holds this history already, and a standby continues from where it ends. */
  readonly type: 'built' | 'present'
  readonly historyId: string
  readonly position: Position
  /** What was given up for it. */
  readonly replaced: boolean
  readonly status: BootstrapStatus | undefined
}

/**
 * Builds a standby's directory without running the node: takes the directory, pulls the source's history, has the
 * end confirmed by the primary, installs, and is done. It serves nobody, follows nobody and acknowledges nothing.
 */
export function bootstrapDirectory(
  parts: NodeParts,
  options: DirectoryBootstrapOptions,
): Promise<DirectoryBootstrapResult> {
  return awake(parts.clock, async () => {
    try {
      const work = new DirectoryBootstrap(parts, options)
      const historyId = await work.greetSource()
      const lock = await takeDirectory({ ...parts, engine: parts.engines.kind, replaceDamaged: options.replace })
      try {
        return await work.run(historyId)
      } finally {
        await lock.release()
      }
    } finally {
      await parts.transport.close()
    }
  })
}

class DirectoryBootstrap {
  private readonly parts: NodeParts
  private readonly options: DirectoryBootstrapOptions
  private readonly context: ShardContext
  private readonly greeter: Greeter

  constructor(parts: NodeParts, options: DirectoryBootstrapOptions) {
    this.parts = parts
    this.options = options
    const [config] = parts.shards
    if (config === undefined || parts.shards.length > 1) {
      throw new UnderstudyError('CONFIG', 'a bootstrap builds the directory of one shard')
    }
    this.context = new ShardContext({
      ...parts,
      config: { ...config, cluster: parts.cluster, node: parts.node, boot: parts.random.hex(8) },
      store: new ShardStore(parts.files, parts.directory, config.name),
    })
    // Nothing here answers in any epoch: what is promised elsewhere reaches the directory with the record.
    this.greeter = new Greeter(this.context, () => Promise.resolve())
  }

  /** Every mismatch of names, settings or secret is thrown here, before anything is written. Returns the history. */
  async greetSource(): Promise<string> {
    const { link, welcome } = await this.greeter.dial(this.options.source, 'control', this.options.signal)
    link.close()
    if (welcome.historyId !== undefined) return welcome.historyId
    throw new UnderstudyError('NOT_READY', `${welcome.node} has no data itself (${welcome.state})`, {
      hint: 'name a node that has, or wait until it is built',
    })
  }

  async run(historyId: string): Promise<DirectoryBootstrapResult> {
    const { store } = this.context
    const { replace, source } = this.options
    const givenUp = replace ? await store.openForReplacement() : undefined
    if (!replace) await store.open()
    const { superblock } = store
    if (superblock === undefined) return this.build(historyId, givenUp)
    const own = superblock.record.historyId
    if (own !== historyId) {
      throw new UnderstudyError('HISTORY_MISMATCH', `${store.root} holds history ${own}, ${source.node} ${historyId}`, {
        hint: 'the two never had a common beginning; add --replace to give up what is here and build it anew',
      })
    }
    const position = await this.judgePresent(historyId)
    return { type: 'present', historyId, position, replaced: false, status: undefined }
  }

  private async build(historyId: string, givenUp: Superblock | undefined): Promise<DirectoryBootstrapResult> {
    const { context, options } = this
    const { replace, signal, onProgress } = options
    // Promises of the data that is given up bind this node still, as far as they speak of the same history (S3).
    const promised = givenUp?.record.historyId === historyId ? givenUp.promised : epochZero
    context.transition('start', 'building a directory')
    context.transition('bootstrap-needed', replace ? 'the data here is given up' : 'this directory is empty')
    const bootstrap = createShardBootstrap({
      context,
      greeter: this.greeter,
      historyId,
      promised: () => higherEpoch(promised, context.promised),
      preferred: options.source.node,
    })
    context.listen((event) => {
      if (event.type === 'bootstrap') onProgress(event.progress)
    })
    context.peers = this.createPeers(() => {
      context.wake.signal()
      bootstrap.onPeersChanged()
    })
    context.peers.start()
    try {
      await this.firstAnswer()
      await bootstrap.run(signal)
    } finally {
      await context.peers.close()
      context.transition('stop', 'done')
    }
    const position = bootstrap.installed!
    return { type: 'built', historyId, position, replaced: replace, status: bootstrap.progress.status }
  }

  /** The source that was named is there, or has failed, before another one is chosen. */
  private async firstAnswer(): Promise<void> {
    const { context, options } = this
    for (;;) {
      const view = context.peers.view(options.source.node)
      if (view === undefined || view.state !== undefined || view.lastError !== undefined) return
      if (options.signal.aborted) return
      await context.wake.wait(limits.pollMs)
    }
  }

  private createPeers(onChange: () => void): Peers {
    const { context, greeter, parts } = this
    return new Peers({
      members: context.cluster.others,
      dial: async (member, signal) => (await greeter.dial(member, 'control', signal)).link,
      pollMs: limits.pollMs,
      silenceMs: limits.peerSilenceMs,
      clock: parts.clock,
      random: parts.random,
      logger: context.logger,
      onState: () => Promise.resolve(),
      onChange,
    })
  }

  /** Data of the same history: throws unless the source would continue from its end. */
  private async judgePresent(historyId: string): Promise<Position> {
    const { context, parts } = this
    const { source, signal } = this.options
    const { journal } = await parts.journals.open(
      parts.files.join(context.store.current, 'journal'),
      { cluster: parts.cluster, shard: context.config.name, historyId },
      { onDurable: () => undefined, onFailed: () => undefined },
    )
    let link: Link | undefined
    try {
      const { durable, epochs } = journal
      link = (await this.greeter.dial(source, 'source', signal)).link
      link.send('subscribe', { position: durable, epochs, creditBytes: 0 })
      const [answer, payload] = await link.expectOneOf(
        ['stream', 'tooOld', 'diverged'],
        limits.requestTimeoutMs,
        signal,
      )
      if (answer === 'stream') return durable
      const here = `${context.store.root} holds this history up to ${formatPosition(durable)}`
      const hint = 'add --replace to give up what is there and build it anew'
      if (answer === 'tooOld') {
        throw new UnderstudyError('TOO_OLD', `${here}, which ${source.node} has no journal to continue from`, { hint })
      }
      const { common } = decodeMessage('diverged', payload)
      throw new UnderstudyError(
        'DIVERGED',
        `${here}, of which ${source.node} knows no more than up to ${formatPosition(common)}`,
        { hint: `what was never committed is cut by itself when the node starts; otherwise ${hint}` },
      )
    } finally {
      link?.close()
      await journal.close()
    }
  }
}
