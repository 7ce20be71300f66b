/** The disk refuses something to RocksDB: an error with a code, never the end of the process, and nothing half counts. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { generator } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { FaultyDisk } from '../faults/fs-shim/faulty-disk.js'
import { needsShim } from '../faults/fs-shim/shim-library.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { contentOf, type EngineReport, expectedContent, runEngine } from '../support/engine-process.js'
import { Workload } from '../support/engine-workload.js'
import { needsRocksdb } from '../support/rocksdb.js'

const faults = [
  { what: 'one write fails', calls: ['write'], error: 'EIO', count: 1, code: /^UNDERSTUDY_IO / },
  { what: 'every write fails', calls: ['write'], error: 'EIO', count: 0, code: /^UNDERSTUDY_IO / },
  { what: 'the disk is full', calls: ['write'], error: 'ENOSPC', count: 0, code: /^UNDERSTUDY_DISK_FULL / },
  {
    what: 'the disk is full for a moment',
    calls: ['write'],
    error: 'ENOSPC',
    count: 1,
    code: /^UNDERSTUDY_DISK_FULL /,
  },
  { what: 'one fsync fails', calls: ['sync'], error: 'EIO', count: 1, code: /^UNDERSTUDY_IO / },
  { what: 'every fsync fails', calls: ['sync'], error: 'EIO', count: 0, code: /^UNDERSTUDY_IO / },
] as const

/** UNDERSTUDY_DISK_ERRORS=60 for every call of the first checkpoints. */
const perFault = Number(process.env.UNDERSTUDY_DISK_ERRORS ?? 4)
const callsMax = 60
const blocksMax = 400

const skip = needsRocksdb.skip === false ? needsShim().skip : needsRocksdb.skip

describe('engine rocksdb, errors of the disk', { skip }, () => {
  for (const { what, calls, error, count, code } of faults) {
    test(`F17: ${what}, at any of the first calls: it is said, and a file that lacks something never counts`, {
      timeout: 600_000,
    }, async (context) => {
      const seed = Number(process.env.UNDERSTUDY_DISK_SEED ?? Math.floor(Math.random() * 1e9))
      context.diagnostic(`UNDERSTUDY_DISK_SEED=${seed}`)
      const random = generator(seed)
      let refused = 0
      for (let round = 0; round < perFault; round++) {
        const after = perFault >= callsMax ? round : random() % callsMax
        // The first is of a file that counts; others may hit RocksDB's own messages only.
        const name = round === 0 ? 'MANIFEST-*' : '*'
        const directory = await makeDirectory()
        const disk = new FaultyDisk(directory, 'disk')
        const engine = join(directory, 'engine')
        const fault = disk.fault({ path: `${engine}/${name}`, calls, error, count, after: round === 0 ? 0 : after })
        const run = { kind: 'rocksdb', checkpointEvery: 20, launcher: disk.launcher } as const
        const report = await runEngine(engine, run, (blocks, running) => {
          // It met only RocksDB's own messages, which are worth no error.
          if (blocks === blocksMax) running.kill('SIGKILL')
        })
        const { injected } = fault
        disk.close()
        const story = `call ${after}: ${injected} failed, ${JSON.stringify(report)}`
        assert.ok(injected > 0, `F46: nothing was made to fail, ${story}`)
        assert.equal(report.signal, report.failures.length === 0 ? 'SIGKILL' : null, story)
        for (const failure of report.failures) assert.match(failure, code, story)
        if (report.failures.length > 0) refused++
        await isWhole(engine, report, story)
        await removeDirectory(directory)
      }
      assert.ok(refused > 0, 'F46: no error reached the engine')
    })
  }
})

/** With a disk that works again, and before any replay. */
async function isWhole(directory: string, report: EngineReport, story: string): Promise<void> {
  const workload = new Workload()
  const engine = await rocksdbEngine.open(directory, workload.journal.empty)
  const from = engine.opened.checkpoint?.sequence ?? 0
  assert.ok(from >= report.checkpoint, `checkpoint ${from}, ${story}`)
  while (workload.journal.end.sequence < from) workload.nextBlock()
  assert.deepEqual(await contentOf(engine), await expectedContent(workload, from), story)
  await engine.close()
}
