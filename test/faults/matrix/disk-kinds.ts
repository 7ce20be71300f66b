/** Faults of a disk below a process that goes on running: each acknowledges nothing that is lost, and says what is wrong. */
import { join } from 'node:path'
import { refusalOf } from '#src/cli/http-client.js'
import type { ShardStatus } from '#src/runtime/handle.js'
import type { Fault, FaultRule, FaultyDisk } from '../fs-shim/faulty-disk.js'
import { undoUnsynced } from '../fs-shim/power-loss.js'
import { witness } from './coordinators.js'
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
  { name: 'disk-voter', rounds: 5, needs, run: voterDisk },
  { name: 'disk-engine', rounds: 5, needs, args: ['--checkpoint-bytes', '64KiB'], run: engineDisk },
  {
    name: 'disk-engine-rocksdb',
    rounds: 5,
    needs,
    args: ['--engine', 'rocksdb', '--checkpoint-bytes', '64KiB'],
    run: engineDisk,
  },
  { name: 'disk-power-loss', rounds: 30, needs, losesPower: true, run: powerLossOfAll },
  { name: 'disk-power-loss-primary', rounds: 30, needs, losesPower: true, run: powerLossOfPrimary },
]

const failTimeoutMs = 15_000

function diskOf(context: FaultContext, name: string): FaultyDisk {
  const disk = context.disks.get(name)
  if (disk === undefined) throw new Error(`the disk of ${name} cannot be made to fail`)
  return disk
}

function journalOf(context: FaultContext, name: string): string {
  return join(context.cluster.data(name), 'shards', 'main', 'current', 'journal')
}

function fault(context: FaultContext, name: string, rule: FaultRule): Fault {
  return diskOf(context, name).fault(rule)
}

function noteFault(context: FaultContext, name: string, { rule, injected, matched }: Fault): void {
  const { calls, action = 'fail', error = 'EIO' } = rule
  context.note(`${name}: ${calls.join(' and ')} ${action === 'fail' ? error : action} ${injected} of ${matched}`)
}

/** The shard has stopped, the process has not, and both status and answers to clients say why. */
async function untilFailed(context: FaultContext, name: string, code: string, reason: RegExp): Promise<ShardStatus> {
  const { cluster } = context
  const failed = await cluster.until(name, 'failed', (shard) => shard.state === 'failed', failTimeoutMs)
  if (!reason.test(failed.reason)) throw new Error(`${name} failed, and says only: ${failed.reason}`)
  const request = { method: 'GET', path: '/v1/kv/anything?consistency=local' } as const
  const answer = await cluster.client.send(cluster.url(name), request)
  const refusal = refusalOf(answer)
  if (refusal.code !== `UNDERSTUDY_${code}` || refusal.hint === undefined) {
    throw new Error(`${name} failed with "${failed.reason}" and answers ${answer.status} ${JSON.stringify(refusal)}`)
  }
  return failed
}

async function restart(context: FaultContext, name: string): Promise<void> {
  await context.cluster.stop(name)
  context.cluster.start(name)
}

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

/** Ends with an error, or runs with a shard that has failed; both name what happened. */
async function failsToStart(context: FaultContext, name: string, reason: RegExp): Promise<void> {
  const { cluster } = context
  const child = cluster.process(name)
  const endMs = performance.now() + failTimeoutMs
  while (performance.now() < endMs) {
    if (!child.isRunning) {
      if (child.endedBy !== 'exit code 1' || !reason.test(child.logTail())) {
        throw new Error(`${name} ended by ${child.endedBy}: ${child.logTail()}`)
      }
      context.note(`${name} did not start`)
      return
    }
    const shard = (await cluster.shards()).get(name)
    if (shard?.state === 'failed') {
      if (!reason.test(shard.reason)) throw new Error(`${name} failed, and says only: ${shard.reason}`)
      context.note(`${name} started with a failed shard`)
      return
    }
    await pass(20)
  }
  throw new Error(`${name} started, or did not, and says nothing: ${child.logTail()}`)
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
async function superblock(context: FaultContext): Promise<FaultTimes> {
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
async function voterDisk(context: FaultContext): Promise<FaultTimes> {
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

/** The engine's own files. The journal has everything, and the engine is brought up from it. */
async function engineDisk(context: FaultContext): Promise<FaultTimes> {
  const { primary, book, cluster, index } = context
  const epoch = highestNumber(book)
  const faultAtMs = performance.now()
  const failing = fault(context, primary, {
    path: join(cluster.data(primary), 'shards', 'main', 'current', 'engine', '*'),
    calls: index % 2 === 0 ? ['write'] : ['sync'],
  })
  const times = await takenOver(context, faultAtMs, epoch, others(context, primary))
  await untilFailed(context, primary, 'IO', /I\/O|EIO|Input\/output/i)
  noteFault(context, primary, failing)
  diskOf(context, primary).heal()
  await restart(context, primary)
  return times
}

/** All nodes lose power at once, each a part of what it had not synced. */
async function powerLossOfAll(context: FaultContext): Promise<FaultTimes> {
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

async function powerLossOfPrimary(context: FaultContext): Promise<FaultTimes> {
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
function losePower(context: FaultContext, name: string): number {
  const all = context.random() < 0.5
  return undoUnsynced(diskOf(context, name).undoFile, () => all || context.random() < 0.8)
}
