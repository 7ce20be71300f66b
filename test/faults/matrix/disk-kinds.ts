/** Faults of a disk below a process that goes on running: each acknowledges nothing that is lost, and says what is wrong. */
import type { Fault, FaultRule } from '../fs-shim/faulty-disk.js'
import {
  bootstrap,
  engineDisk,
  powerLossOfAll,
  powerLossOfPrimary,
  segments,
  superblock,
  voterDisk,
} from './disk-file-kinds.js'
import {
  diskOf,
  failsToStart,
  failTimeoutMs,
  fault,
  journalOf,
  noteFault,
  restart,
  untilFailed,
} from './disk-helpers.js'
import {
  type FaultContext,
  type FaultKind,
  type FaultTimes,
  firstAfter,
  highestNumber,
  others,
  pauseAround,
  pick,
  someWrites,
  takenOver,
} from './kinds.js'
import { pass } from './times.js'

const needs = 'disks and coordinator' as const

export const diskKinds: readonly FaultKind[] = [
  {
    name: 'disk-fsync-once',
    rounds: 5,
    needs,
    run: (context) => failingPrimary(context, { action: 'drop', count: 1 }),
  },
  { name: 'disk-fsync-ever', rounds: 3, needs, run: (context) => failingPrimary(context, {}) },
  { name: 'disk-fsync-standby', rounds: 5, needs, run: failingStandby },
  { name: 'disk-fsync-hangs', rounds: 5, needs, run: hangingPrimary },
  { name: 'disk-fsync-slow', rounds: 5, needs, run: slowDisk },
  { name: 'disk-full-primary', rounds: 5, needs, run: fullPrimary },
  { name: 'disk-full-standby', rounds: 5, needs, run: fullStandby },
  { name: 'disk-short-writes', rounds: 5, needs, run: shortWrites },
  { name: 'disk-write-error', rounds: 5, needs, run: writeError },
  { name: 'disk-recovery-read', rounds: 5, needs, run: recoveryRead },
  { name: 'disk-feeder-read', rounds: 5, needs, run: feederRead },
  { name: 'disk-superblock', rounds: 12, needs, run: superblock },
  { name: 'disk-segment', rounds: 8, needs, args: ['--segment-bytes', '64KiB'], run: segments },
  { name: 'disk-bootstrap', rounds: 7, needs, run: bootstrap },
  { name: 'disk-voter', rounds: 5, needs, run: voterDisk },
  { name: 'disk-engine', rounds: 6, needs, args: ['--checkpoint-bytes', '64KiB'], run: engineDisk },
  {
    name: 'disk-engine-rocksdb',
    rounds: 6,
    needs,
    args: ['--engine', 'rocksdb', '--checkpoint-bytes', '64KiB'],
    run: engineDisk,
  },
  { name: 'disk-power-loss', rounds: 30, needs, losesPower: true, run: powerLossOfAll },
  { name: 'disk-power-loss-primary', rounds: 30, needs, losesPower: true, run: powerLossOfPrimary },
]

/** F17: an fsync of the journal fails. It is not tried again as if the page cache still held the data. */
async function failingPrimary(context: FaultContext, how: Partial<FaultRule>): Promise<FaultTimes> {
  const { primary, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const failing = fault(context, primary, {
    path: `${journalOf(context, primary)}/*.journal`,
    calls: ['sync'],
    ...how,
  })
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, 'IO', /EIO/)
  if (failing.injected !== 1) throw new Error(`F17: ${failing.injected} calls of fsync failed, one was to be the last`)
  if (failing.matched !== 1) throw new Error(`F17: ${failing.matched - 1} more calls of fsync after one that failed`)
  noteFault(context, primary, failing)
  if (how.count === undefined) {
    // A start on the same disk fails as well, and says so.
    await context.cluster.stop(primary)
    const seen = failing.injected
    context.cluster.start(primary)
    await failsToStart(context, primary, /EIO/)
    if (failing.injected === seen) throw new Error('F46: nothing was made to fail at the start')
    diskOf(context, primary).heal()
  }
  await restart(context, primary)
  return times
}

/** It acknowledges nothing more, leaves the set, and comes back with what its disk really holds. */
async function failingStandby(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, cluster } = context
  const standby = pick(context, others(context, primary))
  const faultAtMs = performance.now()
  const failing = fault(context, standby, {
    path: `${journalOf(context, standby)}/*.journal`,
    calls: ['sync'],
    action: 'drop',
    count: 1,
  })
  await failing.until()
  await untilFailed(context, standby, 'IO', /EIO/)
  await cluster.until(primary, `without ${standby}`, ({ inSync }) => !inSync.includes(standby), failTimeoutMs)
  await someWrites(context)
  const times = { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
  if (failing.matched !== 1) throw new Error(`F17: ${failing.matched - 1} more calls of fsync after one that failed`)
  noteFault(context, standby, failing)
  await restart(context, standby)
  return times
}

/** F37, L3: a primary that hangs on its disk gives up its role; let go in time it follows without help, else it is killed. */
async function hangingPrimary(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, cluster, index } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const hanging = fault(context, primary, {
    path: `${journalOf(context, primary)}/*.journal`,
    calls: ['sync'],
    action: 'hang',
  })
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await pass(context.random() * 1_000)
  noteFault(context, primary, hanging)
  if (index % 2 === 0) {
    hanging.remove()
    context.note('let go')
  } else {
    await cluster.kill(primary)
    hanging.remove()
    cluster.start(primary)
    context.note('killed')
  }
  return times
}

/** Every fsync of one node takes long, and longer than `failoverMs` now and then: nothing is lost, whoever leads. */
async function slowDisk(context: FaultContext): Promise<FaultTimes> {
  const { primary, names, failoverMs, book } = context
  const slow = context.index % 2 === 0 ? primary : pick(context, names)
  const faultAtMs = performance.now()
  const path = `${context.cluster.data(slow)}/*`
  const seed = Math.floor(context.random() * 2 ** 31)
  // The first rule that hits a call decides.
  const slowly = { path, calls: ['sync'], action: 'delay', seed } as const
  const long = fault(context, slow, { ...slowly, delayMs: 2 * failoverMs, probability: 0.1 })
  const often = fault(context, slow, { ...slowly, delayMs: 100, probability: 0.7 })
  await pass(3 * failoverMs)
  noteFault(context, slow, often)
  noteFault(context, slow, long)
  if (often.injected === 0) throw new Error('F46: no fsync was slow')
  diskOf(context, slow).heal()
  await someWrites(context)
  return { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
}

/** As a disk does that fills up: some of a write still fits, then nothing. What is there can be removed and renamed. */
function fill(context: FaultContext, name: string): Fault {
  const path = `${context.cluster.data(name)}/*`
  fault(context, name, { path, calls: ['write'], action: 'short', count: 1 })
  return fault(context, name, { path, calls: ['write', 'allocate', 'mkdir'], error: 'ENOSPC' })
}

async function fullPrimary(context: FaultContext): Promise<FaultTimes> {
  const { primary, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const full = fill(context, primary)
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, 'DISK_FULL', /ENOSPC|no space/i)
  noteFault(context, primary, full)
  // Until there is room it says so, also from the start on.
  await context.cluster.stop(primary)
  context.cluster.start(primary)
  await failsToStart(context, primary, /ENOSPC|no space/i)
  diskOf(context, primary).heal()
  await restart(context, primary)
  return times
}

async function fullStandby(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, cluster } = context
  const standby = pick(context, others(context, primary))
  const faultAtMs = performance.now()
  const full = fill(context, standby)
  await full.until()
  await untilFailed(context, standby, 'DISK_FULL', /ENOSPC|no space/i)
  await cluster.until(primary, `without ${standby}`, ({ inSync }) => !inSync.includes(standby), failTimeoutMs)
  await someWrites(context)
  const times = { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
  noteFault(context, standby, full)
  diskOf(context, standby).heal()
  await restart(context, standby)
  return times
}

/** Nothing fails: what the kernel took less of is written to the end. The journals are compared afterwards. */
async function shortWrites(context: FaultContext): Promise<FaultTimes> {
  const { names, book } = context
  const faultAtMs = performance.now()
  const faults = names.map((name) =>
    fault(context, name, {
      path: `${context.cluster.data(name)}/*`,
      calls: ['write', 'read'],
      action: 'short',
      probability: 0.5,
      seed: Math.floor(context.random() * 2 ** 31),
    }),
  )
  await someWrites(context, 500)
  for (const [index, one] of faults.entries()) {
    noteFault(context, names[index]!, one)
    if (one.injected < 10) throw new Error(`F46: ${one.injected} short writes at ${names[index]}`)
  }
  return { firstMs: firstAfter(book, faultAtMs).returnedMs - faultAtMs, pauseMs: pauseAround(book, faultAtMs) }
}

/** A write to the journal fails half-way. */
async function writeError(context: FaultContext): Promise<FaultTimes> {
  const { primary, book } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const path = `${journalOf(context, primary)}/*.journal`
  fault(context, primary, { path, calls: ['write'], action: 'short', count: 1 })
  const failing = fault(context, primary, { path, calls: ['write'], count: 2 })
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, 'IO', /EIO/)
  noteFault(context, primary, failing)
  await restart(context, primary)
  return times
}

/** A read error at the start is neither damage nor a torn tail: nothing is cut, and the file is named. */
async function recoveryRead(context: FaultContext): Promise<FaultTimes> {
  const { primary, cluster } = context
  const standby = pick(context, others(context, primary))
  const { sequence } = await cluster.shard(standby)
  await cluster.kill(standby)
  const failing = fault(context, standby, {
    path: `${journalOf(context, standby)}/*.journal`,
    calls: ['read'],
    // The header, or something behind it.
    after: Math.floor(context.random() * 4),
  })
  cluster.start(standby)
  await failsToStart(context, standby, /EIO.*\.journal|\.journal.*EIO/s)
  noteFault(context, standby, failing)
  if (failing.injected === 0) throw new Error('F46: no read failed')
  diskOf(context, standby).heal()
  await restart(context, standby)
  await cluster.until(
    standby,
    'everything that was durable',
    (shard) => shard.state === 'streaming' && shard.sequence.durable >= sequence.durable,
    failTimeoutMs,
  )
  return {}
}

/** F3, F5: the journal cannot be read for a follower that is behind: it gets nothing, not something later. */
async function feederRead(context: FaultContext): Promise<FaultTimes> {
  const { primary, cluster } = context
  const [next, behind] = others(context, primary) as [string, string]
  await cluster.kill(behind)
  await someWrites(context, 300)
  // Started anew it has nothing of its journal in memory.
  await restart(context, next)
  await cluster.until(next, 'streaming', ({ state }) => state === 'streaming', failTimeoutMs)
  await cluster.untilInSync(primary, [primary, next], failTimeoutMs)
  await cluster.switchover(primary, next)
  const failing = fault(context, next, { path: `${journalOf(context, next)}/*.journal`, calls: ['read'] })
  cluster.start(behind)
  await failing.until(3)
  const shard = await cluster.shard(behind)
  const told = `${shard.reason} ${shard.warnings.join(' ')} ${cluster.process(behind).logTail()}`
  if (!/EIO/.test(told)) throw new Error(`${behind} is not told why it gets nothing: ${shard.reason}`)
  if (shard.inSync.includes(behind)) throw new Error(`F8: ${behind} counts as in sync`)
  await someWrites(context)
  noteFault(context, next, failing)
  diskOf(context, next).heal()
  return {}
}
