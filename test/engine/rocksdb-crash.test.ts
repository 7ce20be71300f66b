import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, open, readdir, stat, truncate, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { generator, put, rejectsWith, scanned } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { isFailure } from '#src/errors.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { contentOf, type EngineReport, expectedContent, runEngine } from '../support/engine-process.js'
import { Workload } from '../support/engine-workload.js'
import { needsRocksdb } from '../support/rocksdb.js'

const worker = fileURLToPath(new URL('../support/rocksdb-worker.js', import.meta.url))
const exiting = fileURLToPath(new URL('../support/rocksdb-exit.js', import.meta.url))
/** UNDERSTUDY_KILLS=1000 for the long run. */
const kills = Number(process.env.UNDERSTUDY_KILLS ?? 12)

async function temporary(context: TestContext): Promise<string> {
  const directory = await makeDirectory()
  context.after(() => removeDirectory(directory))
  return directory
}

/** Runs the child until it has applied `blocks` blocks, then kills it where it stands, after `delayMs` at most. */
function runAndKill(
  directory: string,
  blocks: number,
  delayMs: number,
  checkpointEvery: number,
): Promise<EngineReport> {
  return runEngine(directory, { kind: 'rocksdb', checkpointEvery, beside: true }, (applied, running) => {
    // Not always at the end of a block: the time puts the kill into a flush or an apply as well.
    if (applied === blocks) setTimeout(() => running.kill('SIGKILL'), delayMs)
  })
}

async function tablesOf(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => /\.(sst|ldb)$/.test(name)).map((name) => join(directory, name))
}

async function filled(directory: string, values = 200): Promise<Workload> {
  const workload = new Workload()
  const engine = await rocksdbEngine.open(directory, workload.journal.empty)
  const value = 'v'.repeat(1000)
  await engine.apply([
    workload.journal.append(Array.from({ length: values }, (_, at) => put(`key ${at}`, `${at}${value}`))),
  ])
  await engine.close()
  return workload
}

describe('engine rocksdb, crashes and damage', needsRocksdb, () => {
  test(`J4: after kill -9 all families are at one position, and the replay gives what was applied (${kills} times)`, {
    timeout: kills * 20_000,
  }, async (context) => {
    const seed = Number(process.env.UNDERSTUDY_KILL_SEED ?? Math.floor(Math.random() * 1e9))
    context.diagnostic(`UNDERSTUDY_KILL_SEED=${seed}`)
    const random = generator(seed)
    for (let round = 0; round < kills; round++) {
      const directory = await makeDirectory()
      const killed = await runAndKill(directory, 1 + (random() % 400), random() % 20, 5 + (random() % 60))
      const workload = new Workload()
      const engine = await rocksdbEngine.open(directory, workload.journal.empty)
      const from = engine.opened.checkpoint?.sequence ?? 0
      assert.ok(from >= killed.checkpoint, `checkpoint ${from}, reported ${killed.checkpoint}`)
      const until = Math.max(killed.applied, from)
      while (workload.journal.end.sequence < until) workload.nextBlock()
      // Before the replay already: nothing of a later entry, and nothing missing of an earlier one.
      assert.deepEqual(await contentOf(engine), await expectedContent(workload, from))
      for (const block of workload.journal.blocks) {
        if (block.header.firstSequence > from) await engine.apply([block])
      }
      assert.deepEqual(await contentOf(engine), await expectedContent(workload, until))
      await engine.close()
      await removeDirectory(directory)
    }
  })

  test('J4: a crash in the middle of a replay does not make the engine look younger', async (context) => {
    const [first, second] = [await temporary(context), await temporary(context)]
    const workload = new Workload()
    const blocks = Array.from({ length: 20 }, () => workload.nextBlock())
    const engine = await rocksdbEngine.open(first, workload.journal.empty)
    await engine.apply(blocks)
    for (const block of blocks.slice(0, 7)) await engine.apply([block])
    await engine.checkpoint()
    await cp(first, second, { recursive: true })
    const crashed = await rocksdbEngine.open(second, workload.journal.empty)
    assert.deepEqual(crashed.opened, { checkpoint: blocks[6]?.end, applied: workload.journal.end })
    await crashed.apply(blocks.slice(7))
    assert.deepEqual(await contentOf(crashed), await expectedContent(workload, workload.journal.end.sequence))
    await crashed.close()
    await engine.close()
    const done = await rocksdbEngine.open(second, workload.journal.empty)
    assert.deepEqual(done.opened, { checkpoint: workload.journal.end, applied: workload.journal.end })
    await done.close()
  })

  test('S8: a drop that was not flushed is undone by a crash together with everything after it', async (context) => {
    const [first, second] = [await temporary(context), await temporary(context)]
    const { journal } = new Workload()
    const engine = await rocksdbEngine.open(first, journal.empty)
    const create = journal.append([{ type: 'createFamily', family: 1, name: 'x' }, put('k', 'v', 1)])
    await engine.apply([create])
    await engine.checkpoint()
    await engine.apply([journal.append([{ type: 'dropFamily', family: 1 }])])
    await engine.apply([journal.append([{ type: 'createFamily', family: 2, name: 'x' }, put('k', 'w', 2)])])
    // A copy of an open store is what a crash leaves: of family 2 there is a name on disk and nothing else.
    await cp(first, second, { recursive: true })
    await engine.close()
    const crashed = await rocksdbEngine.open(second, journal.empty)
    assert.deepEqual(crashed.opened.checkpoint, create.end)
    assert.deepEqual(
      crashed.families.map(({ id }) => id),
      [0, 1],
    )
    assert.equal(await scanned(crashed, 1), 'k=v')
    await crashed.apply(journal.blocks.slice(1))
    assert.equal(await scanned(crashed, 2), 'k=w')
    await rejectsWith('UNKNOWN_FAMILY', () => crashed.get(1, Buffer.from('k')))
    await crashed.close()
  })

  test('F22: a missing table file is corruption, named', async (context) => {
    const directory = await temporary(context)
    const workload = await filled(directory)
    const [table] = (await tablesOf(directory)).sort().slice(-1)
    await unlink(table!)
    await assert.rejects(rocksdbEngine.open(directory, workload.journal.empty), (error: Error) => {
      assert.ok(isFailure(error, 'CORRUPTION'), String(error))
      assert.ok(error.message.includes(basename(table!)), error.message)
      return true
    })
  })

  for (const damage of ['flipped', 'cut off'] as const) {
    test(`F22: a table file with bytes ${damage} is corruption, named`, async (context) => {
      const directory = await temporary(context)
      const workload = await filled(directory)
      const sizes = await Promise.all(
        (await tablesOf(directory)).map(async (path) => ({ path, size: (await stat(path)).size })),
      )
      const [{ path, size }] = sizes.sort((a, b) => b.size - a.size) as [(typeof sizes)[0]]
      if (damage === 'cut off') await truncate(path, Math.floor(size / 2))
      else {
        const file = await open(path, 'r+')
        for (let at = 100; at < size * 0.8; at += 200) await file.write(Buffer.from([0x5a]), 0, 1, at)
        await file.close()
      }
      await assert.rejects(
        async () => {
          const engine = await rocksdbEngine.open(directory, workload.journal.empty)
          try {
            await scanned(engine)
          } finally {
            await engine.close()
          }
        },
        (error: Error) => {
          assert.ok(isFailure(error, 'CORRUPTION'), String(error))
          assert.ok(error.message.includes(path.slice(directory.length + 1)), error.message)
          return true
        },
      )
    })
  }

  test('F21: a directory whose CURRENT or MANIFEST is missing is corrupt, not empty', async (context) => {
    for (const name of ['CURRENT', 'MANIFEST']) {
      const directory = await temporary(context)
      const workload = await filled(directory)
      const before = (await tablesOf(directory)).length
      for (const file of await readdir(directory)) if (file.startsWith(name)) await unlink(join(directory, file))
      await rejectsWith('CORRUPTION', () => rocksdbEngine.open(directory, workload.journal.empty))
      assert.equal((await tablesOf(directory)).length, before, 'nothing was deleted')
    }
  })

  test('a worker thread is terminated in the middle of everything, and the store opens again', {
    timeout: 120_000,
  }, async (context) => {
    const directory = await temporary(context)
    for (let round = 0; round < 5; round++) {
      const path = join(directory, String(round))
      const running = new Worker(worker, { workerData: path })
      await once(running, 'message')
      await running.terminate()
      const engine = await rocksdbEngine.open(path, new Workload().journal.empty)
      assert.equal(await engine.get(0, Buffer.from('none')), undefined)
      await engine.close()
    }
  })

  test('process.exit() in the middle of everything ends the process with its own code', {
    timeout: 120_000,
  }, async (context) => {
    const directory = await temporary(context)
    for (let round = 0; round < 5; round++) {
      const { status, signal, stderr } = spawnSync(process.execPath, [exiting, directory], {
        encoding: 'utf8',
        timeout: 60_000,
      })
      assert.deepEqual([status, signal], [7, null], stderr)
    }
  })
})
