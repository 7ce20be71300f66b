/** Faults of a disk in other files than those of the journal that is being written, and losses of power. */
import { join } from 'node:path'
import { undoUnsynced } from '../fs-shim/power-loss.js'
import { witness } from './coordinators.js'
import { diskOf, failTimeoutMs, fault, journalOf, noteFault, restart, untilFailed } from './disk-helpers.js'
import {
  type FaultContext,
  type FaultTimes,
  highestNumber,
  others,
  pauseAround,
  someWrites,
  takenOver,
} from './kinds.js'
import { pass } from './times.js'

const superblockFaults = [
  { calls: ['write'], file: 'shard.json.tmp' },
  { calls: ['sync'], file: 'shard.json.tmp' },
  { calls: ['open'], file: 'shard.json.tmp' },
  { calls: ['rename'], file: 'shard.json' },
  { calls: ['sync'], file: '' },
] as const

/**
 * S3: what a node promises is on its disk before it answers. Of a standby that is to take over, and of a primary whose set
 * changes.
 */
export async function superblock(context: FaultContext): Promise<FaultTimes> {
  const { primary, cluster, index, book } = context
  const { calls, file } = superblockFaults[index % superblockFaults.length]!
  const directory = join(cluster.data(primary), '..')
  const [one, two] = others(context, primary) as [string, string]
  const ofPrimary = index % 2 === 1
  const faulty = ofPrimary ? primary : one
  const current = join(cluster.data(faulty), 'shards', 'main', 'current')
  const failing = fault(context, faulty, { path: file === '' ? current : join(current, file), calls })
  context.note(`${calls.join()} of ${file === '' ? current.slice(directory.length) : file} at ${faulty}`)
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  if (ofPrimary) {
    // The set changes: the record is stored by everybody.
    await cluster.kill(two)
  } else {
    await cluster.kill(primary)
  }
  await failing.until(1, failTimeoutMs)
  await untilFailed(context, faulty, 'IO', /EIO/)
  noteFault(context, faulty, failing)
  diskOf(context, faulty).heal()
  cluster.start(ofPrimary ? two : primary)
  await restart(context, faulty)
  return await takenOver(context, faultAtMs, epoch, others(context, primary))
}

/** F17: the record's only copy cannot be written. The voter answers nothing more; the data goes on without it. */
export async function voterDisk(context: FaultContext): Promise<FaultTimes> {
  const { cluster, names, primary, book, index, failoverMs, coordinator } = context
  if (coordinator !== 'builtin') return {}
  const faultAtMs = performance.now()
  const voter = join(cluster.data(witness), 'voter')
  const failing = fault(context, witness, {
    path: `${voter}/journal/*.journal`,
    calls: index % 2 === 0 ? ['sync'] : ['write'],
    ...(index % 2 === 0 ? { action: 'drop', count: 1 } : {}),
  })
  const [one] = others(context, primary) as [string]
  // The set cannot change without it: writes wait until the member is back.
  await cluster.kill(one)
  await failing.until(1, failTimeoutMs)
  await pass(2 * failoverMs)
  const { voter: status } = await cluster.status(witness)
  if (!/EIO/.test(JSON.stringify(status))) throw new Error(`the witness does not say why: ${JSON.stringify(status)}`)
  const shards = await cluster.shards()
  const leaders = names.filter((name) => shards.get(name)?.state === 'primary' && name !== primary)
  if (leaders.length > 0) throw new Error(`L4: ${leaders.join(', ')} took over without a coordinator`)
  noteFault(context, witness, failing)
  cluster.start(one)
  await someWrites(context)
  diskOf(context, witness).heal()
  await restart(context, witness)
  return { pauseMs: pauseAround(book, faultAtMs) }
}

const engineFaults = [
  { calls: ['write'], error: 'EIO', code: 'IO', told: /I\/O|EIO|Input\/output/i },
  { calls: ['sync'], error: 'EIO', code: 'IO', told: /I\/O|EIO|Input\/output/i },
  { calls: ['write'], error: 'ENOSPC', code: 'DISK_FULL', told: /ENOSPC|no space/i },
] as const

/** The engine's own files. The journal has everything, and the engine is brought up from it. */
export async function engineDisk(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, cluster, index } = context
  const { calls, error, code, told } = engineFaults[index % engineFaults.length]!
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const failing = fault(context, primary, {
    path: join(cluster.data(primary), 'shards', 'main', 'current', 'engine', '*'),
    calls,
    error,
  })
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, code, told)
  noteFault(context, primary, failing)
  diskOf(context, primary).heal()
  await restart(context, primary)
  return times
}

/** All nodes lose power at once, each a part of what it had not synced. */
export async function powerLossOfAll(context: FaultContext): Promise<FaultTimes> {
  const { names, cluster, book } = context
  const epoch = highestNumber(book)
  await Promise.all(names.map((name) => cluster.kill(name)))
  const undone = names.map((name) => losePower(context, name))
  context.note(`writes undone: ${undone.join(', ')}`)
  const startedMs = performance.now()
  for (const name of names) cluster.start(name)
  const write = await book.untilAcknowledged(
    'a write after all nodes were started again',
    (one) => one.calledMs >= startedMs && one.epoch.number > epoch,
    60_000,
  )
  return { firstMs: write.returnedMs - startedMs, takeoverMs: write.returnedMs - startedMs }
}

export async function powerLossOfPrimary(context: FaultContext): Promise<FaultTimes> {
  const { primary, cluster, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  await cluster.kill(primary)
  context.note(`writes undone: ${losePower(context, primary)}`)
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  cluster.start(primary)
  return times
}

/** Everything that was not synced, or the newest part of it. */
export function losePower(context: FaultContext, name: string): number {
  const all = context.random() < 0.5
  return undoUnsynced(diskOf(context, name).undoFile, () => all || context.random() < 0.8)
}

const segmentFaults = [
  { calls: ['rename'], file: '*.journal' },
  { calls: ['sync'], file: '' },
  { calls: ['open'], file: 'spare.tmp' },
  { calls: ['write'], file: 'spare.tmp' },
] as const

/** J3: a new segment begins: its name, the directory, and the file that is made ready beforehand. */
export async function segments(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, index } = context
  const { calls, file } = segmentFaults[index % segmentFaults.length]!
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const directory = journalOf(context, primary)
  const failing = fault(context, primary, { path: file === '' ? directory : join(directory, file), calls })
  context.note(`${calls.join()} of ${file === '' ? 'the directory' : file}`)
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, 'IO', /EIO/)
  noteFault(context, primary, failing)
  diskOf(context, primary).heal()
  await restart(context, primary)
  return times
}

/** F9: what a bootstrap has built so far is never taken for data: it goes on when the disk is well again. */
export async function bootstrap(context: FaultContext): Promise<FaultTimes> {
  const { primary, cluster, index } = context
  const [fresh] = others(context, primary) as [string]
  await cluster.kill(fresh)
  cluster.eraseData(fresh)
  const incoming = join(cluster.data(fresh), 'shards', 'main', 'incoming', '*')
  const own = fault(context, fresh, { path: incoming, calls: index % 2 === 0 ? ['sync'] : ['write'], after: index % 7 })
  cluster.start(fresh)
  await own.until(1, failTimeoutMs)
  await untilFailed(context, fresh, 'IO', /I\/O|EIO|Input\/output/i)
  noteFault(context, fresh, own)
  diskOf(context, fresh).heal()
  await cluster.stop(fresh)
  cluster.start(fresh)
  await cluster.until(fresh, 'streaming', ({ state }) => state === 'streaming', 2 * failTimeoutMs)
  return {}
}
