/** The kinds of faults: what is done to the cluster, and what is waited for before it is undone. */
import type { ClusterProcesses } from '#src/cli/cluster-processes.js'
import { hasRocksdb } from '#src/engine/rocksdb.js'
import type { FaultyDisk } from '../fs-shim/faulty-disk.js'
import { shimLibrary } from '../fs-shim/shim-library.js'
import type { CoordinatorKind, CoordinatorProcesses } from './coordinators.js'
import type { Network } from './network.js'
import type { Acknowledged, RoundBook } from './round-book.js'
import { longestGap, pass } from './times.js'

export interface FaultContext {
  readonly cluster: ClusterProcesses
  readonly coordinator: CoordinatorKind
  readonly coordinators: CoordinatorProcesses
  /** Undefined where links cannot be cut; kinds that need it are not run then. */
  readonly network: Network | undefined
  /** Of kinds that need them: the disks of the nodes and of the witness. */
  readonly disks: ReadonlyMap<string, FaultyDisk>
  readonly names: readonly string[]
  /** Primary when the round began. */
  readonly primary: string
  readonly book: RoundBook
  /** Counts the rounds of this kind from 0. */
  readonly index: number
  readonly random: () => number
  readonly failoverMs: number
  /** What happened, in words. */
  note(text: string): void
}

/** What a round measured; absent where it does not apply. */
export interface FaultTimes {
  /** From the fault to the first acknowledged write that was called after it. */
  readonly firstMs?: number
  /** The same, of a write in a new epoch. */
  readonly takeoverMs?: number
  /** Longest time without an acknowledgement around the fault. */
  readonly pauseMs?: number
}

export interface FaultKind {
  readonly name: string
  /** Rounds of the full run. */
  readonly rounds: number
  /** `coordinator`: one that promotes by itself. With the static one reads are linearizable only while nobody is cut off. */
  readonly needs: 'nothing' | 'coordinator' | 'network and coordinator' | 'disks and coordinator'
  /** What was not synced can be lost with a process. */
  readonly losesPower?: boolean
  /** More arguments of the nodes. */
  readonly args?: readonly string[]
  run(context: FaultContext): Promise<FaultTimes>
}

const takeoverTimeoutMs = 30_000

export const kinds: readonly FaultKind[] = [
  { name: 'kill', rounds: 50, needs: 'nothing', run: kill },
  { name: 'power-loss', rounds: 20, needs: 'network and coordinator', run: powerLoss },
  { name: 'stop', rounds: 20, needs: 'nothing', run: stop },
  { name: 'partition-primary', rounds: 20, needs: 'network and coordinator', run: partitionPrimary },
  { name: 'partition-standby', rounds: 20, needs: 'network and coordinator', run: partitionStandby },
  { name: 'partition-coordinator', rounds: 20, needs: 'network and coordinator', run: partitionCoordinator },
  { name: 'partition-one-way', rounds: 20, needs: 'network and coordinator', run: partitionOneWay },
  { name: 'double', rounds: 10, needs: 'nothing', run: double },
  { name: 'kill-all', rounds: 6, needs: 'nothing', run: killAll },
  { name: 'switchover', rounds: 50, needs: 'coordinator', run: switchover },
  { name: 'kill-standby', rounds: 10, needs: 'coordinator', run: killStandby },
  { name: 'coordinator-restart', rounds: 10, needs: 'coordinator', run: coordinatorRestart },
  { name: 'coordinator-and-primary', rounds: 10, needs: 'coordinator', run: coordinatorAndPrimary },
]

export function canRun(kind: FaultKind, coordinator: CoordinatorKind, network: boolean): boolean {
  const { needs } = kind
  if (needs.includes('network') && !network) return false
  if (kind.args?.includes('rocksdb') === true && !hasRocksdb()) return false
  if (needs.includes('disks') && typeof shimLibrary() !== 'string') return false
  return needs === 'nothing' || coordinator !== 'static'
}

export function others(context: FaultContext, ...names: readonly string[]): readonly string[] {
  return context.names.filter((name) => !names.includes(name))
}

export function pick<T>(context: FaultContext, list: readonly T[]): T {
  return list[Math.floor(context.random() * list.length)]!
}

export function highestNumber(book: RoundBook): number {
  return book.acknowledged.reduce((highest, { epoch }) => Math.max(highest, epoch.number), 0)
}

/** Waits for a write in an epoch above `epoch`; with the static coordinator somebody promotes one of the candidates. */
export async function takenOver(
  context: FaultContext,
  faultAtMs: number,
  epoch: number,
  candidates: readonly string[],
): Promise<FaultTimes> {
  if (context.coordinator === 'static') await promoteByHand(context, candidates)
  const { book } = context
  const write = await book.untilAcknowledged(
    `a write acknowledged in an epoch above ${epoch}`,
    (one) => one.calledMs >= faultAtMs && one.epoch.number > epoch,
    takeoverTimeoutMs,
  )
  context.note(`${write.epoch.node} took over with epoch ${write.epoch.number}`)
  const first = firstAfter(book, faultAtMs)
  return { firstMs: first.returnedMs - faultAtMs, takeoverMs: write.returnedMs - faultAtMs }
}

async function promoteByHand(context: FaultContext, candidates: readonly string[]): Promise<void> {
  const endMs = performance.now() + takeoverTimeoutMs
  for (;;) {
    const chosen = pick(context, candidates)
    try {
      await context.cluster.promote(chosen)
      return
    } catch (error) {
      if (performance.now() > endMs) throw error
      await pass(50)
    }
  }
}

export function firstAfter(book: RoundBook, ms: number): Acknowledged {
  return book.acknowledged.reduce((first, one) =>
    one.calledMs >= ms && (first.calledMs < ms || one.returnedMs < first.returnedMs) ? one : first,
  )
}

export function pauseAround(book: RoundBook, fromMs: number): number {
  return longestGap(
    book.acknowledged.map(({ returnedMs }) => returnedMs),
    fromMs,
    performance.now(),
  )
}

export async function someWrites(context: FaultContext, count = 100, timeoutMs = takeoverTimeoutMs): Promise<void> {
  const nowMs = performance.now()
  await context.book.untilAcknowledged(`${count} more writes`, (one) => one.calledMs >= nowMs, timeoutMs, count)
}

async function kill(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  await cluster.kill(primary)
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await pass(context.random() * 500)
  cluster.start(primary)
  return times
}

/** Killed when its links are cut already: what it had sent and nobody had received is lost with it. */
async function powerLoss(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, book, network, coordinators } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  await network!.cut([primary], [...others(context, primary), ...coordinators.names])
  await cluster.kill(primary)
  try {
    const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
    await pass(context.random() * 500)
    return times
  } finally {
    await network!.healAll()
    cluster.start(primary)
  }
}

/** Its clients go on asking the stopped process, and hear it again as soon as it runs. */
async function stop(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  cluster.process(primary).signal('SIGSTOP')
  try {
    const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
    await pass(context.random() * 1_000)
    return times
  } finally {
    cluster.process(primary).signal('SIGCONT')
  }
}

async function partitionPrimary(context: FaultContext): Promise<FaultTimes> {
  const { primary, coordinators } = context
  return cutOff(context, primary, [...others(context, primary), ...coordinators.names])
}

/** The primary reaches the coordinator in every second round. */
async function cutOff(context: FaultContext, node: string, from: readonly string[]): Promise<FaultTimes> {
  const { network, book } = context
  const epoch = highestNumber(book)
  const keepsCoordinator = context.index % 2 === 1
  const peers = keepsCoordinator ? from.filter((name) => context.names.includes(name)) : from
  const faultAtMs = performance.now()
  await network!.cut([node], peers)
  context.note(`${node} cut off from ${peers.join(', ')}`)
  try {
    const times = await takenOver(context, faultAtMs, epoch, others(context, node))
    await pass(context.random() * 1_000)
    return times
  } finally {
    await network!.healAll()
  }
}

/** Writes go on without it. */
async function partitionStandby(context: FaultContext): Promise<FaultTimes> {
  const { primary, network, coordinators, book } = context
  const standby = pick(context, others(context, primary))
  const peers = [...others(context, standby), ...(context.index % 2 === 0 ? coordinators.names : [])]
  const faultAtMs = performance.now()
  await network!.cut([standby], peers)
  context.note(`${standby} cut off from ${peers.join(', ')}`)
  try {
    await someWrites(context)
    await pass(context.random() * 1_000)
    return { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
  } finally {
    await network!.healAll()
  }
}

/** Of the primary, or of everybody: nothing in the write path needs it. */
async function partitionCoordinator(context: FaultContext): Promise<FaultTimes> {
  const { primary, names, network, coordinators, failoverMs, book } = context
  const cut = context.index % 2 === 0 ? [primary] : names
  const faultAtMs = performance.now()
  await network!.cut(cut, coordinators.names)
  context.note(`${cut.join(', ')} cut off from the coordinator`)
  try {
    await pass(2 * failoverMs + context.random() * 1_000)
    await someWrites(context)
    return { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
  } finally {
    await network!.healAll()
  }
}

/** L3: only one direction is gone, first what the primary sends, then what it is sent. */
async function partitionOneWay(context: FaultContext): Promise<FaultTimes> {
  const { primary, network, coordinators, book } = context
  const epoch = highestNumber(book)
  const outward = context.index % 2 === 0
  const peers = [...others(context, primary), ...(Math.floor(context.index / 2) % 2 === 0 ? [] : coordinators.names)]
  const faultAtMs = performance.now()
  await Promise.all(
    peers.map((peer) => (outward ? network!.cutOneWay(primary, peer) : network!.cutOneWay(peer, primary))),
  )
  context.note(`nothing ${outward ? `from ${primary} reaches` : `reaches ${primary} from`} ${peers.join(', ')}`)
  try {
    const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
    await pass(context.random() * 1_000)
    return times
  } finally {
    await network!.healAll()
  }
}

/** The second one dies as soon as, or just before, it is primary. */
async function double(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, book, failoverMs } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  await cluster.kill(primary)
  let second: string
  if (context.coordinator === 'static' || context.index % 2 === 0) {
    const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
    context.note(`after ${Math.round(times.takeoverMs ?? 0)} ms`)
    second = book.acknowledged.at(-1)!.epoch.node
  } else {
    // Whoever it may be: at a moment around its promotion.
    await pass(failoverMs * (0.3 + 0.9 * context.random()))
    second = await leaderOf(context, primary)
  }
  await cluster.kill(second)
  context.note(`${second} killed ${Math.round(performance.now() - faultAtMs)} ms after ${primary}`)
  const between = highestNumber(book)
  // One node alone holds too little: the first comes back, with the disk it had.
  cluster.start(primary)
  const times = await takenOver(context, performance.now(), between, others(context, second))
  cluster.start(second)
  return { ...times, pauseMs: pauseAround(book, faultAtMs) }
}

async function leaderOf(context: FaultContext, dead: string): Promise<string> {
  const shards = await context.cluster.shards()
  for (const [name, { state }] of shards) if (state === 'primary' || state === 'promoting') return name
  return pick(context, others(context, dead))
}

const orders = permutations(['0', '1', '2'])

/** At once, as a loss of power; started again in every order. */
async function killAll(context: FaultContext): Promise<FaultTimes> {
  const { cluster, names, coordinators, book } = context
  const order = orders[context.index % orders.length]!.map((index) => names[Number(index)]!)
  const withCoordinator = coordinators.names.length > 0 && Math.floor(context.index / orders.length) % 2 === 1
  const epoch = highestNumber(book)
  await Promise.all([
    ...names.map((name) => cluster.kill(name)),
    ...(withCoordinator ? coordinators.names.map((name) => coordinators.kill(name)) : []),
  ])
  context.note(`all killed${withCoordinator ? ' with the coordinator' : ''}, started ${order.join(', ')}`)
  if (withCoordinator) await Promise.all(coordinators.names.map((name) => coordinators.start(name)))
  const startedMs = performance.now()
  for (const name of order) {
    cluster.start(name)
    await pass(context.random() * 500)
  }
  const write = await book.untilAcknowledged(
    'a write after all nodes were started again',
    (one) => one.calledMs >= startedMs && one.epoch.number > epoch,
    2 * takeoverTimeoutMs,
  )
  return { firstMs: write.returnedMs - startedMs, takeoverMs: write.returnedMs - startedMs }
}

async function switchover(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, names, book } = context
  const to = pick(context, others(context, primary))
  const via = pick(context, names)
  const faultAtMs = performance.now()
  const { pauseMs, epoch, primary: now } = await cluster.switchover(via, to)
  if (now !== to) throw new Error(`switchover to ${to} made ${now} the primary`)
  context.note(`${primary} to ${to}, asked at ${via}: epoch ${epoch}, ${pauseMs} ms as the nodes saw it`)
  await someWrites(context)
  return { pauseMs: pauseAround(book, faultAtMs) }
}

async function killStandby(context: FaultContext): Promise<FaultTimes> {
  const { cluster, primary, book } = context
  const standby = pick(context, others(context, primary))
  const faultAtMs = performance.now()
  await cluster.kill(standby)
  context.note(`${standby} killed`)
  await someWrites(context)
  const times = { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
  await pass(context.random() * 500)
  cluster.start(standby)
  return times
}

/** One of its processes, or all of them. */
async function coordinatorRestart(context: FaultContext): Promise<FaultTimes> {
  const { coordinators, failoverMs, book } = context
  const chosen = context.index % 2 === 0 ? coordinators.names : [pick(context, coordinators.names)]
  const faultAtMs = performance.now()
  await Promise.all(chosen.map((name) => coordinators.kill(name)))
  context.note(`${chosen.join(', ')} killed`)
  await pass(context.random() * 2 * failoverMs)
  await someWrites(context)
  await Promise.all(chosen.map((name) => coordinators.start(name)))
  await someWrites(context)
  return { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
}

/** L4: while the coordinator is away nobody takes over; when it is back somebody does. */
async function coordinatorAndPrimary(context: FaultContext): Promise<FaultTimes> {
  const { cluster, coordinators, primary, book, failoverMs } = context
  const epoch = highestNumber(book)
  await Promise.all([cluster.kill(primary), ...coordinators.names.map((name) => coordinators.kill(name))])
  const killedMs = performance.now()
  await pass(failoverMs * (1 + context.random()))
  const early = book.acknowledged.find((one) => one.calledMs >= killedMs)
  if (early !== undefined) {
    throw new Error(`L4: ${early.epoch.node} acknowledged a write in epoch ${early.epoch.number} without a coordinator`)
  }
  await Promise.all(coordinators.names.map((name) => coordinators.start(name)))
  const times = await takenOver(context, performance.now(), epoch, others(context, primary))
  cluster.start(primary)
  return times
}

function permutations(items: readonly string[]): string[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]))
}
