import { cpus } from 'node:os'
import { type Command, Option } from 'commander'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { addClientFlags, type ClientFlags, nodeAddress, parseDuration } from './client-flags.js'
import { ClusterProcesses } from './cluster-processes.js'
import { formatBytes, formatCount, formatMs, plural } from './format.js'
import { onInterrupt, reasonOf } from './interrupt.js'
import { Load } from './load.js'
import type { NodeAddress } from './node-client.js'
import { countParser, sizeParser } from './parse-flags.js'
import { ProgressBar } from './progress-bar.js'
import { printJson, printLine } from './terminal.js'

interface BenchFlags extends ClientFlags {
  readonly duration: number
  readonly writers: number
  readonly valueBytes: number
  readonly batch: number
  readonly nodes: number
  readonly durability: 'local' | 'standby'
}

export interface BenchFigures {
  readonly seconds: number
  readonly requests: number
  readonly operations: number
  readonly operationsPerSecond: number
  readonly bytesPerSecond: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly longestGapMs: number
  /** Answers that were no success, by code and outcome. */
  readonly failures: Readonly<Record<string, number>>
  readonly unknown: number
}

const settleTimeoutMs = 60_000
const warmUpMs = 500
const nodesMax = 5

export function registerBench(program: Command): void {
  const command = program
    .command('bench')
    .description('write as many clients would and tell rates and times: to a cluster of its own, or to a running node')
  addClientFlags(command)
    .option('--duration <DURATION>', 'how long it writes', parseDuration, 10_000)
    .option('--writers <N>', 'requests in flight', countParser(1, limits.loadWritersMax), 64)
    .addOption(new Option('--value-bytes <SIZE>', 'size of a value').argParser(sizeParser(1)).default(100, '100 bytes'))
    .option('--batch <N>', 'keys of one request; 1: single writes', countParser(1, 10_000), 1)
    .option('--nodes <N>', 'nodes of the cluster that is started here', countParser(1, nodesMax), 3)
    .addOption(
      new Option('--durability <RULE>', 'of the cluster that is started here')
        .choices(['local', 'standby'])
        .default('standby'),
    )
    .option('--json', 'the figures as one JSON object')
    .addHelpText(
      'after',
      `
Without --url it starts a cluster of processes on this machine, in a directory of its own
that it removes; all of them share its processors and its disk. With --url it writes to
that node: new keys under load/, which stay there.

Latency is that of a request as a client sees it, over HTTP: from its first attempt to
the acknowledgement.

Examples:
  understudy bench
  understudy bench --nodes 1 --durability local --writers 256
  understudy bench --url http://10.0.0.1:7400 --duration 30s --batch 100

Exit codes: 0 measured; 1 ended; 4 no write was acknowledged.`,
    )
    .action((flags: BenchFlags) => run(flags))
}

async function run(flags: BenchFlags): Promise<void> {
  if (flags.url !== undefined) {
    return report(await measure(nodeAddress(flags), flags), flags)
  }
  const { nodes, durability } = flags
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, nodes)
  const cluster = await ClusterProcesses.create({
    names,
    durability,
    inSyncMin: durability === 'local' || nodes === 1 ? 1 : 2,
  })
  try {
    for (const name of names) cluster.start(name)
    const primary = await cluster.untilSettled(names, settleTimeoutMs)
    await report(await measure({ url: cluster.url(primary), secret: undefined }, flags), flags)
  } finally {
    await cluster.close()
  }
}

async function measure({ url, secret, tls }: NodeAddress, flags: BenchFlags): Promise<BenchFigures> {
  const { writers, valueBytes, batch, duration } = flags
  const times: number[] = []
  let operations = 0
  let isMeasured = false
  const load = new Load(url, {
    writers,
    valueBytes,
    batchPercent: batch > 1 ? 100 : 0,
    batchKeys: batch,
    counters: 0,
    random: Math.random,
    ...(tls === undefined ? {} : { tls }),
    ...(secret === undefined ? {} : { headers: { authorization: `Bearer ${secret}` } }),
    onAcknowledged: (ms, count) => {
      if (!isMeasured) return
      times.push(ms)
      operations += count
    },
  })
  const interrupt = onInterrupt()
  const bar = new ProgressBar()
  try {
    load.start()
    await load.untilFirstAcknowledged(settleTimeoutMs / 4)
    await pause(warmUpMs, interrupt.signal)
    isMeasured = true
    load.watchGap()
    const startMs = performance.now()
    for (let at = 0; at < duration && !interrupt.signal.aborted; at = performance.now() - startMs) {
      bar.update('writing', at, duration, `${formatCount(operations)} operations acknowledged`)
      await pause(Math.min(250, duration - at), interrupt.signal)
    }
    const seconds = (performance.now() - startMs) / 1000
    isMeasured = false
    const { longestGapMs } = load
    await load.stop()
    return figuresOf({ times, operations, seconds, longestGapMs, load, valueBytes })
  } catch (error) {
    throw reasonOf(interrupt.signal, error)
  } finally {
    bar.end()
    interrupt.end()
    load.close()
  }
}

function figuresOf(seen: {
  readonly times: number[]
  readonly operations: number
  readonly seconds: number
  readonly longestGapMs: number
  readonly load: Load
  readonly valueBytes: number
}): BenchFigures {
  const { times, operations, seconds, load } = seen
  if (times.length === 0) {
    throw new UnderstudyError('TIMEOUT', 'no write was acknowledged while it was measured', {
      hint: load.describeFailures(),
    })
  }
  times.sort((a, b) => a - b)
  const at = (share: number): number => round(times[Math.min(times.length - 1, Math.floor(times.length * share))]!)
  return {
    seconds: round(seconds),
    requests: times.length,
    operations,
    operationsPerSecond: Math.round(operations / seconds),
    bytesPerSecond: Math.round((operations * seen.valueBytes) / seconds),
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
    maxMs: at(1),
    longestGapMs: round(seen.longestGapMs),
    failures: Object.fromEntries([...load.failures].map(([name, { count }]) => [name, count])),
    unknown: load.ledger.counts.unknown,
  }
}

function report(figures: BenchFigures, flags: BenchFlags): void {
  const { url, writers, batch, valueBytes, nodes, durability } = flags
  const where = url ?? `${plural(nodes, 'node')} on this machine, durability ${durability}`
  if (flags.json === true) {
    const machine = { node: process.version, cpus: cpus().length, cpu: cpus()[0]?.model }
    printJson({ where, writers, batch, valueBytes, ...figures, machine })
    return
  }
  const { operationsPerSecond, bytesPerSecond, p50Ms, p95Ms, p99Ms, maxMs, longestGapMs, failures } = figures
  const size =
    batch === 1 ? `single writes of ${formatBytes(valueBytes)}` : `${batch} × ${formatBytes(valueBytes)} per request`
  printLine(`${where}: ${plural(writers, 'request')} in flight, ${size}, ${figures.seconds} s`)
  printLine('')
  printLine(
    `acknowledged  ${formatCount(operationsPerSecond)} operations/s, ${formatBytes(bytesPerSecond)}/s of values`,
  )
  printLine(`latency       p50 ${p50Ms} ms, p95 ${p95Ms} ms, p99 ${p99Ms} ms, longest ${maxMs} ms`)
  printLine(`longest time without an acknowledgement  ${formatMs(longestGapMs)}`)
  for (const [name, count] of Object.entries(failures)) printLine(`not acknowledged  ${formatCount(count)} × ${name}`)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}
