/** `npm run bench:engines`: both engines on disk by themselves, and the bootstrap of a standby with each. */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { levelEngine } from '#src/engine/level.js'
import { hasRocksdb, rocksdbEngine } from '#src/engine/rocksdb.js'
import { measureBootstrap } from './measure-bootstrap.js'
import { type EngineFigures, measureEngine } from './measure-engine.js'
import { measureRestart } from './measure-restart.js'
import { measureTransfer } from './measure-transfer.js'

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '1000000' },
    mebibytes: { type: 'string', default: '1024' },
    nodes: { type: 'boolean', default: true },
    engine: { type: 'string' },
  },
  allowNegative: true,
})
const entries = Number(values.entries)
const mebibytes = Number(values.mebibytes)
const engines = (hasRocksdb() ? [levelEngine, rocksdbEngine] : [levelEngine]).filter(
  ({ kind }) => values.engine === undefined || values.engine === kind,
)
if (!hasRocksdb()) process.stderr.write('engine rocksdb is not built here\n')

const directory = mkdtempSync(join(tmpdir(), 'understudy-bench-'))
const figures: EngineFigures[] = []
const nodes: string[] = []
try {
  const copySeconds = await measureTransfer(join(directory, 'copied'), mebibytes)
  nodes.push(`the same bytes over loopback TCP into an fsynced file: ${rate(mebibytes, copySeconds)}`)
  for (const factory of engines) {
    process.stderr.write(`measuring: engine ${factory.kind}\n`)
    figures.push(await measureEngine(factory, directory, entries, mebibytes))
    process.stderr.write(`measuring: restart of a node, engine ${factory.kind}\n`)
    const restart = await measureRestart(directory, factory.kind)
    nodes.push(
      `restart of a node, engine ${factory.kind}: ${restart.seconds.toFixed(1)} s after kill -9 with ${restart.replayedMebibytes} MiB of journal to replay, ${restart.cleanSeconds.toFixed(1)} s after a clean stop`,
    )
    if (!values.nodes) continue
    process.stderr.write(`measuring: bootstrap of a node, engine ${factory.kind}\n`)
    const { seconds } = await measureBootstrap(mebibytes, factory.kind)
    nodes.push(
      `bootstrap of a standby, engine ${factory.kind}, process start to streaming: ${rate(mebibytes, seconds)}`,
    )
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

const table = new Table({
  head: [
    'engine',
    'apply/s',
    'scan keys/s',
    'chunks keys/s',
    'get/s',
    'get cached/s',
    'range chunks',
    'stored MiB',
    'RSS MiB',
  ],
  colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [], compact: true },
})
for (const one of figures) {
  const numbers = [one.applyPerSecond, one.scanPerSecond, one.chunkPerSecond, one.getPerSecond, one.getCachedPerSecond]
  table.push([
    one.engine,
    ...numbers.map((number) => number.toLocaleString('en')),
    rate(one.copyMebibytes, one.copySeconds),
    String(one.storedMebibytes),
    String(one.residentMebibytes),
  ])
}
process.stdout.write(
  `${entries.toLocaleString('en')} entries of 16 + 100 bytes; ${mebibytes} MiB of 1 KiB in chunks from one engine into another; Node.js ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'})\n${table.toString()}\n${nodes.join('\n')}\n`,
)

function rate(size: number, seconds: number): string {
  return `${size} MiB in ${seconds.toFixed(1)} s, ${(size / seconds).toFixed(0)} MiB/s`
}
