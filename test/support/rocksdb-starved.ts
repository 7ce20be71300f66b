// Works on an engine until its process gets no more of what it needs, and says what became of that.
// argv: directory, "files" (the size of a file is limited) or "memory" (the address space is, by this process itself).
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Block } from '#src/core/entry.js'
import { Journal, put } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { UnderstudyError } from '#src/errors.js'

const directory = process.argv[2] ?? ''
const journal = new Journal()
const engine = await rocksdbEngine.open(directory, journal.empty)
// What is too large is refused with EFBIG then, instead of ending the process.
process.on('SIGXFSZ', () => undefined)

async function outcome(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'done'
  } catch (error) {
    return error instanceof UnderstudyError ? error.failure : String(error)
  }
}

if (process.argv[3] === 'files') {
  const value = 'v'.repeat(1000)
  let written = 0
  let proven = 0
  let block: Block | undefined
  const write = async () => {
    block ??= journal.append(Array.from({ length: 500 }, (_, at) => put(`k${written}-${at}`, value)))
    await engine.apply([block])
    block = undefined
    written += 1
  }
  const failed = await outcome(async () => {
    for (;;) {
      await write()
      if (written % 8 === 0) proven = (await engine.checkpoint()).sequence
    }
  })
  const next = await outcome(write)
  const read = await outcome(() => engine.get(0, Buffer.from('k0-0')))
  const scan = engine.scan(0, {})
  const scanned = await outcome(() => scan.next(10))
  // Where what was refused was RocksDB's own work, and not a checkpoint, there may be nothing left to write.
  const isPending = engine.applied.sequence !== proven
  const close = await outcome(() => engine.close())
  process.stdout.write(JSON.stringify({ failed, next, read, scanned, isPending, close }))
} else {
  const mebibyte = 1024 * 1024
  await engine.apply([journal.append([put('large', 'v'.repeat(8 * mebibyte))])])
  const keys = Array.from({ length: 100 }, () => Buffer.from('large'))
  const used = Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
  const limit = used + 256 * mebibyte
  const { status } = spawnSync('prlimit', ['--pid', String(process.pid), `--as=${limit}:unlimited`])
  const failed = status === 0 ? await outcome(() => engine.getMany(0, keys)) : 'skipped'
  spawnSync('prlimit', ['--pid', String(process.pid), '--as=unlimited:unlimited'])
  const next = await outcome(() => engine.apply([journal.append([put('small', 'v')])]))
  const read = await outcome(() => engine.get(0, Buffer.from('small')))
  const scanned = await outcome(() => engine.checkpoint())
  const close = await outcome(() => engine.close())
  process.stdout.write(JSON.stringify({ failed, next, read, scanned, close }))
}
