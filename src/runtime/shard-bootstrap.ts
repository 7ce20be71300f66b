import type { SourceCandidate } from '../core/bootstrap.js'
import { epochOf } from '../core/divergent.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import { leadingStates } from '../core/takeover.js'
import { UnderstudyError } from '../errors.js'
import { Bootstrap, type Confirmation } from './bootstrap.js'
import type { Greeter } from './greeter.js'
import type { ShardContext } from './shard-context.js'

interface ShardBootstrapParts {
  readonly context: ShardContext
  readonly greeter: Greeter
  readonly historyId: string
  /** Highest epoch that this node has promised in this history. */
  readonly promised: () => Epoch
  /** Source that is asked first. */
  readonly preferred?: string
}

/** A bootstrap of this node's shard: its sources, and the judge of its end, are the members that answer. */
export function createShardBootstrap(question: ShardBootstrapParts): Bootstrap {
  const { context, greeter, historyId, promised, preferred } = question
  const { parts, config } = context
  const bootstrap: Bootstrap = new Bootstrap({
    store: context.store,
    journals: parts.journals,
    engines: parts.engines,
    clock: context.clock,
    random: context.random,
    logger: context.logger,
    cluster: config.cluster,
    shard: config.name,
    node: config.node,
    historyId,
    maxBytesPerSecond: config.bootstrapMaxBytesPerSecond,
    promised,
    keepDivergent: async (epochs, end) => {
      const identity = { cluster: config.cluster, shard: config.name, historyId }
      const directory = context.store.files.join(context.store.current, 'journal')
      const file = await context.divergent.saveReplaced(directory, identity, { epochs, end })
      if (file === undefined) return
      const cutEntries = file.missingEntries + file.entries
      const sequence = file.lastSequence - cutEntries
      const at = { epoch: epochOf(epochs, sequence), sequence }
      context.emit({ type: 'diverged', cutEntries, at, file: file.name })
    },
    empty: () => context.emptyPosition(historyId),
    candidates: () => sourceCandidates(context, historyId, preferred),
    dial: async (candidate, signal) => (await greeter.dial(candidate, 'source', signal)).link,
    confirm: (position, signal) => confirmPosition(question, bootstrap, position, signal),
    pinElsewhere: (slot, sequence) => context.peers.pin(slot, sequence),
    onProgress: (progress) => context.emit({ type: 'bootstrap', progress: progress.status }),
    onRetry: () => context.transition('bootstrap-retry', 'a source failed'),
    onBytes: (bytes) => {
      context.observer.bootstrapBytes += bytes
    },
    onStartedOver: () => {
      context.observer.bootstrapRestarts += 1
    },
    onChecksumFailure: () => {
      context.observer.checksumFailures += 1
    },
  })
  return bootstrap
}

/** Asks the present primary whether it would continue from here, without letting it. */
async function confirmPosition(
  { context, greeter }: ShardBootstrapParts,
  bootstrap: Bootstrap,
  position: Position,
  signal: AbortSignal,
): Promise<Confirmation> {
  // A former one that has not heard of its end would confirm what the present one does not have (B1).
  const primary = context.presentPrimary
  const address = primary === undefined ? undefined : context.addressOf(primary.member.node)
  if (primary === undefined || address === undefined) {
    throw new UnderstudyError('UNAVAILABLE', 'there is no primary now that could confirm the position')
  }
  const { link, welcome } = await greeter.dial({ node: primary.member.node, address }, 'source', signal)
  try {
    link.send('subscribe', { position, epochs: bootstrap.epochs, creditBytes: 0 })
    const [answer] = await link.expectOneOf(['stream', 'tooOld', 'diverged'], limits.requestTimeoutMs, signal)
    return { fits: answer === 'stream', record: welcome.record, promised: welcome.promised }
  } finally {
    link.close()
  }
}

function sourceCandidates(context: ShardContext, historyId: string, preferred: string | undefined): SourceCandidate[] {
  const candidates: SourceCandidate[] = []
  for (const answer of context.peers.answers) {
    if (answer.historyId !== historyId || answer.durable === undefined) continue
    if (answer.state === 'bootstrapping' || answer.state === 'failed') continue
    const address = context.addressOf(answer.member.node)
    if (address === undefined) continue
    candidates.push({
      node: answer.member.node,
      address,
      primary: leadingStates.has(answer.state),
      durable: answer.durable.sequence,
      preferred: answer.member.node === preferred,
    })
  }
  return candidates
}
