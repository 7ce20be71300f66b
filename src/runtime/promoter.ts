import { epochZero, higherEpoch, nextEpoch, sameEpoch } from '../core/position.js'
import { confirmPromotion, decidePromotion, type PeerState } from '../core/promotion.js'
import type { ShardRecord } from '../core/record.js'
import { errorFromFailure, UnderstudyError } from '../errors.js'
import { forcedLoss } from './forced-loss.js'
import type { PromoteResult } from './handle.js'
import { PrimaryRole } from './primary-role.js'
import type { ShardContext } from './shard-context.js'

/**
 * Promotion by hand: ask, decide, have the epoch promised, decide once more, and only then lead. Every start as
 * primary comes through here and takes a new epoch, fsynced before its first block (S3).
 */
export async function promote(context: ShardContext, force: boolean, hooks: LeadHooks): Promise<PromoteResult> {
  const { data, self, record } = context
  if (data === undefined || self === undefined || record === undefined) {
    throw new UnderstudyError('PROMOTION_REFUSED', `${context.config.node} has no data yet (${context.state})`)
  }
  await data.journal.mark()
  const ofThisHistory = (state: PeerState) => state.historyId === record.historyId && state.votes
  const answers = (await context.peers.ask()).filter(ofThisHistory)
  const decision = decidePromotion({
    self,
    record,
    promised: context.promised,
    durable: data.journal.durable,
    committed: data.committed,
    committedEnd: await data.committedEnd(),
    holdsFloor: await data.holds(record.floor),
    nonce: context.random.hex(16),
    answers,
    force,
  })
  if (decision.type === 'refuse') throw errorFromFailure(decision.failure)
  const superblock = await context.store.promise(decision.epoch)
  if (!sameEpoch(superblock.promised, decision.epoch)) {
    throw new UnderstudyError('PROMOTION_REFUSED', 'another promotion with a higher epoch is under way')
  }
  // Whoever did not answer the question is not waited for once more (C6); it hears of the epoch when it is polled.
  const present = new Set(answers.map((answer) => answer.member.node))
  const promises = (await context.peers.ask({ fence: decision.epoch, only: present })).filter(ofThisHistory)
  const failure = confirmPromotion(decision, promises)
  if (failure !== undefined) throw errorFromFailure(failure)
  await lead(context, decision.record, hooks)
  return {
    epoch: decision.epoch,
    position: data.journal.appended,
    mayLose: forcedLoss(decision.record, decision.missingEntries),
  }
}

/** The first record of a new history, made by its first primary. */
export function firstRecord(context: ShardContext, historyId: string, incarnation: string): ShardRecord {
  const self = { node: context.config.node, incarnation }
  return {
    historyId,
    coordinatorId: context.random.hex(16),
    epoch: nextEpoch(epochZero, context.config.node),
    primary: self,
    inSync: [self],
    version: 1,
    nonce: context.random.hex(16),
    settings: context.config.settings,
    floor: context.emptyPosition(historyId),
    lossySince: epochZero,
    handedOver: false,
    voters: [...context.configuredNames].sort(),
  }
}

export interface LeadHooks {
  readonly saveRecord: (record: ShardRecord, signal: AbortSignal) => Promise<ShardRecord | undefined>
  readonly onDeposed: (reason: string) => void
  readonly onFailed: (error: unknown) => void
  /** The first block of the epoch is committed and applied. */
  readonly onReady?: () => void
}

/** Without a coordinator the record is what this node holds durably. */
export async function saveOwnRecord(context: ShardContext, record: ShardRecord): Promise<ShardRecord> {
  await context.store.update((now) => ({ ...now, record }))
  return record
}

/** Record and epoch are durable before the first block of the epoch is appended. */
export async function lead(context: ShardContext, record: ShardRecord, hooks: LeadHooks): Promise<void> {
  const data = context.data!
  await context.store.update((now) => ({
    ...now,
    promised: higherEpoch(now.promised, record.epoch),
    record,
    led: higherEpoch(now.led, record.epoch),
    adopted: true,
    provisional: false,
  }))
  if (!sameEpoch(context.promised, record.epoch)) {
    throw new UnderstudyError('PROMOTION_REFUSED', 'a higher epoch was seen meanwhile')
  }
  // Nobody would end a role that begins after the end.
  if (context.failure !== undefined) throw context.failure
  if (context.stopping) throw new UnderstudyError('CLOSED', `${context.config.node} is closing`)
  const role = new PrimaryRole({
    journal: data.journal,
    engine: data.engine,
    applier: data.applier,
    clock: context.clock,
    logger: context.logger,
    self: record.primary,
    origin: context.origin,
    record,
    recordHeldBy: context.parts.coordinator.kind === 'static' ? 'members' : 'coordinator',
    committed: data.committed,
    lease: context.leaseTerms,
    nextRequest: context.nextRequest,
    saveRecord: hooks.saveRecord,
    onDeposed: hooks.onDeposed,
    nonce: () => context.random.hex(16),
    onRecord: (next) => {
      context.emit({ type: 'record', record: next })
      context.waiters.check()
    },
    onInSync: (change) => {
      context.observer.inSyncChanges += 1
      context.emit({ type: 'in-sync', ...change })
    },
    onReady: (ready) => {
      context.transition(
        'promoted',
        `the first block of the epoch is committed (in-sync set: ${record.inSync.map((one) => one.node).join(', ')})`,
      )
      context.waiters.check()
      hooks.onReady?.()
      context.forwarder.lead(ready)
    },
    // A node that closes or has failed sends nothing on.
    takeOver: (write) =>
      write.origin === context.origin &&
      context.failure === undefined &&
      !context.stopping &&
      context.forwarder.takeOver(write, record.epoch),
    onEnd: (ended) => context.forwarder.detach(ended),
    onCommitted: (sequence) => data.noteCommitted(sequence),
    onFailed: hooks.onFailed,
    observe: context.observer,
    tracer: context.parts.tracer,
  })
  context.primary = role
  role.begin()
  context.explain('waiting until the first block of the epoch is committed')
  context.emit({ type: 'record', record })
}
