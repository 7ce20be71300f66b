/**
 * `npm run bench:bootstrap`: a standby is built from a primary with engine rocksdb, by files of a checkpoint and by
 * range chunks, in one run with the yardstick: the same bytes over loopback TCP into an fsynced file. Both nodes are
 * processes of their own; memory is the highest that each of them ever had.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { ClusterProcesses, clusterName } from '#src/cli/cluster-processes.js'
import { hasRocksdb } from '#src/engine/rocksdb.js'
import type { BootstrapStatus } from '#src/runtime/handle.js'
import { fillDatabase } from './measure-bootstrap.js'
import { measureTransfer } from './measure-transfer.js'
import { openDatabase } from './pair.js'

const { values } = parseArgs({
  options: {
    mebibytes: { type: 'string', default: '1024' },
    methods: { type: 'string', default: 'auto,range-chunks' },
    rounds: { type: 'string', default: '1' },
  },
})
const mebibytes = Number(values.mebibytes)
const methods = values.methods.split(',')
const rounds = Number(values.rounds)
if (!hasRocksdb()) throw new Error('engine rocksdb is not built here')

interface Figures {
  readonly method: string
  readonly seconds: number
  readonly transferSeconds: number
  /** Of both processes, on all cores. */
  readonly cpuSeconds: number
  readonly sourceMebibytes: number
  readonly standbyMebibytes: number
}

const say = (text: string) => process.stderr.write(`${text}\n`)
const cluster = await ClusterProcesses.create({
  names: ['a', 'b'],
  durability: 'local',
  inSyncMin: 1,
  args: ['--engine', 'rocksdb'],
})
const rows: Figures[] = []
const copies: number[] = []
const copyCpu: number[] = []
try {
  say(`filling ${mebibytes} MiB`)
  cluster.start('b')
  const db = await openDatabase(cluster.data('a'), {
    cluster: clusterName,
    node: 'a',
    listen: cluster.address('a'),
    coordinator: cluster.coordinator,
    durability: 'local',
    inSyncMin: 1,
    engine: 'rocksdb',
  })
  await cluster.until('b', 'in sync', (shard) => shard.inSync.length === 2)
  await cluster.stop('b')
  cluster.eraseData('b')
  await fillDatabase(db, mebibytes)
  await db.close()
  for (let round = 0; round < rounds; round++) {
    const directory = mkdtempSync(join(tmpdir(), 'understudy-bench-'))
    const cpu = process.cpuUsage()
    copies.push(await measureTransfer(join(directory, 'copied'), mebibytes))
    const { user, system } = process.cpuUsage(cpu)
    copyCpu.push((user + system) / 1e6)
    rmSync(directory, { recursive: true, force: true })
    for (const method of methods) rows.push(await measure(method))
  }
} finally {
  await cluster.close()
}

async function measure(method: string): Promise<Figures> {
  say(`bootstrap: ${method}`)
  cluster.start('a')
  await cluster.until('a', 'ready', (shard) => shard.state === 'primary' || shard.state === 'fenced', 60_000)
  // A restarted primary asks the others first; here there is only the one that is to be built.
  await cluster.promote('a', true)
  await cluster.until('a', 'primary', (shard) => shard.state === 'primary')
  const before = cpuSeconds(cluster.process('a').pid)
  const startMs = performance.now()
  cluster.start('b', ['--bootstrap-method', method])
  let last: BootstrapStatus | undefined
  let beganMs = 0
  let endedMs = 0
  await cluster.until(
    'b',
    'streaming',
    (shard) => {
      last = shard.bootstrap ?? last
      if (shard.bootstrap?.phase === 'transferring' && beganMs === 0) beganMs = performance.now()
      if (shard.bootstrap?.phase === 'transferring') endedMs = performance.now()
      return shard.state === 'streaming'
    },
    600_000,
  )
  const seconds = (performance.now() - startMs) / 1000
  const figures: Figures = {
    method: last?.method ?? method,
    seconds,
    transferSeconds: (endedMs - beganMs) / 1000,
    cpuSeconds: cpuSeconds(cluster.process('a').pid) - before + cpuSeconds(cluster.process('b').pid),
    sourceMebibytes: peakMebibytes(cluster.process('a').pid),
    standbyMebibytes: peakMebibytes(cluster.process('b').pid),
  }
  say(JSON.stringify(figures))
  await cluster.stop('b')
  cluster.eraseData('b')
  await cluster.stop('a')
  return figures
}

/** User and system time so far; the kernel counts in hundredths. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** The most memory that a process has had resident. */
function peakMebibytes(pid: number): number {
  const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return match === null ? Number.NaN : Math.round(Number(match[1]) / 1024)
}

const table = new Table({
  head: ['method', 'seconds', 'MiB/s', 'of the copy', 'transfer s', 'CPU s', 'peak RSS source', 'peak RSS standby'],
  colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [], compact: true },
})
const copySeconds = Math.min(...copies)
for (const row of rows) {
  table.push([
    row.method,
    row.seconds.toFixed(2),
    (mebibytes / row.seconds).toFixed(0),
    (copySeconds / row.seconds).toFixed(2),
    row.transferSeconds.toFixed(2),
    row.cpuSeconds.toFixed(2),
    `${row.sourceMebibytes} MiB`,
    `${row.standbyMebibytes} MiB`,
  ])
}
const copied = copies
  .map(
    (seconds, index) =>
      `${seconds.toFixed(2)} s (${(mebibytes / seconds).toFixed(0)} MiB/s, CPU ${copyCpu[index]!.toFixed(2)} s)`,
  )
  .join(', ')
process.stdout.write(
  `${mebibytes} MiB of 1 KiB values; from the start of the standby's process until it streams; ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), Node.js ${process.version}\n${table.toString()}\nthe same bytes over loopback TCP into an fsynced file: ${copied}\n`,
)
