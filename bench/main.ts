/** `npm run bench`: what one machine does with both nodes on it. Figures of two machines differ by their network. */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { type BootstrapFigures, measureBootstrap } from './measure-bootstrap.js'
import { measureWrites, type WriteFigures } from './measure-writes.js'
import { openDatabase, openPair } from './pair.js'

interface Row extends WriteFigures {
  readonly durability: string
}

const usage = `npm run bench -- [--json] [--seconds N] [--bootstrap-mib N] [--writers 1,64,512]

--seconds        of each measurement of writes, default 4
--bootstrap-mib  data from which a standby is built, default 200; 0 leaves it out
--writers        writes in flight, default 1,64,512
`

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '4' },
    'bootstrap-mib': { type: 'string', default: '200' },
    writers: { type: 'string', default: '1,64,512' },
  },
})
const seconds = Number(values.seconds)
const bootstrapMebibytes = Number(values['bootstrap-mib'])
const writersList = values.writers.split(',').map(Number)
const isUsable = seconds > 0 && bootstrapMebibytes >= 0 && writersList.every((n) => Number.isInteger(n) && n > 0)

if (values.help || !isUsable) {
  process.stdout.write(usage)
  process.exitCode = values.help ? 0 : 2
} else {
  await main()
}

async function main(): Promise<void> {
  const rows: Row[] = []
  say('a node alone')
  const directory = mkdtempSync(join(tmpdir(), 'understudy-bench-'))
  try {
    const db = await openDatabase(join(directory, 'a'))
    for (const writers of writersList) {
      rows.push({ durability: 'local, no standby', ...(await measureWrites(db, writers, seconds * 1000)) })
    }
    await db.close()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  for (const durability of ['local', 'standby'] as const) {
    say(`primary and standby, durability ${durability}`)
    const pair = await openPair(durability)
    try {
      for (const writers of writersList) {
        rows.push({ durability, ...(await measureWrites(pair.db, writers, seconds * 1000)) })
      }
    } finally {
      await pair.close()
    }
  }
  let bootstrap: BootstrapFigures | undefined
  if (bootstrapMebibytes > 0) {
    say(`bootstrap of a standby, ${bootstrapMebibytes} MiB`)
    bootstrap = await measureBootstrap(bootstrapMebibytes)
  }
  const machine = { node: process.version, cpus: cpus().length, cpu: cpus()[0]?.model ?? 'unknown' }
  if (values.json) process.stdout.write(`${JSON.stringify({ machine, writes: rows, bootstrap })}\n`)
  else print(rows, bootstrap, machine)
}

function print(
  rows: readonly Row[],
  bootstrap: BootstrapFigures | undefined,
  machine: { readonly node: string; readonly cpus: number; readonly cpu: string },
): void {
  const table = new Table({
    head: ['durability', 'in flight', 'writes/s', 'p50 ms', 'p99 ms', 'max ms'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const { durability, writers, writesPerSecond, p50Ms, p99Ms, maxMs } of rows) {
    const times = [p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(2))
    table.push([durability, String(writers), writesPerSecond.toLocaleString('en'), ...times])
  }
  const lines = [
    `16-byte keys, 100-byte values, db.put; Node.js ${machine.node}, ${machine.cpus} cores (${machine.cpu}), both nodes on it`,
    table.toString(),
  ]
  if (bootstrap !== undefined) {
    const { bytes, entries, seconds: took, mebibytesPerSecond, fillSeconds } = bootstrap
    const size = (bytes / 1024 / 1024).toFixed(0)
    lines.push(
      `bootstrap: ${size} MiB in ${entries.toLocaleString('en')} entries of 1 KiB, ${took.toFixed(1)} s from process start to streaming: ${mebibytesPerSecond.toFixed(1)} MiB/s (written before in ${fillSeconds.toFixed(1)} s)`,
    )
  }
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** Progress for people; results alone go to standard output. */
function say(what: string): void {
  process.stderr.write(`measuring: ${what}\n`)
}
