import assert from 'node:assert/strict'
import { cp, open, readdir, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { put, rejectsWith, scanned } from '#src/engine/conformance/kit.js'
import { levelEngine } from '#src/engine/level.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { contentOf, type EngineReport, expectedContent, runEngine } from '../support/engine-process.js'
import { Workload } from '../support/engine-workload.js'

/** The synced write of a checkpoint is at the beginning of a new log of LevelDB; a step of a purge may precede it. */
const syncedBytes = 16 * 1024

/** Runs the child until it has applied `blocks` blocks, then kills it where it stands. */
function runAndKill(directory: string, blocks: number): Promise<EngineReport> {
  return runEngine(directory, { kind: 'level' }, (applied, running) => {
    if (applied === blocks) running.kill('SIGKILL')
  })
}

async function replayAndCompare(directory: string, killed: EngineReport): Promise<void> {
  const workload = new Workload()
  const engine = await levelEngine.open(directory, workload.journal.empty)
  try {
    const from = engine.opened.checkpoint?.sequence ?? 0
    const until = Math.max(killed.applied, engine.opened.applied?.sequence ?? 0)
    assert.ok(from >= killed.checkpoint, `checkpoint ${from}, reported ${killed.checkpoint}`)
    while (workload.journal.end.sequence < until) workload.nextBlock()
    for (const block of workload.journal.blocks) {
      if (block.header.firstSequence > from) await engine.apply([block])
    }
    assert.deepEqual(engine.applied, workload.journal.end)
    assert.deepEqual(await contentOf(engine), await expectedContent(workload, until))
  } finally {
    await engine.close()
  }
}

async function filesOf(directory: string, ending: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith(ending)).map((name) => join(directory, name))
}

test('J4: after kill -9 the replay from the checkpoint gives what an engine without a crash holds', async () => {
  const directory = await makeDirectory()
  try {
    const killed = await runAndKill(directory, 500)
    assert.ok(killed.checkpoint > 0)
    const check = await levelEngine.open(directory, new Workload().journal.empty)
    assert.ok((check.opened.applied?.sequence ?? 0) >= killed.applied, 'a process crash loses nothing')
    await check.close()
    await replayAndCompare(directory, killed)
  } finally {
    await removeDirectory(directory)
  }
})

for (const damage of ['a hole in the middle', 'cut off after the checkpoint'] as const) {
  test(`J4: LevelDB's own log is not needed: ${damage}`, async () => {
    const directory = await makeDirectory()
    try {
      const killed = await runAndKill(directory, 450)
      for (const path of await filesOf(directory, '.log')) {
        const { size } = await stat(path)
        if (damage === 'cut off after the checkpoint') await truncate(path, Math.min(size, syncedBytes))
        else {
          const file = await open(path, 'r+')
          await file.write(Buffer.alloc(Math.floor(size / 3), 0x5a), 0, undefined, Math.floor(size / 3))
          await file.close()
        }
      }
      await replayAndCompare(directory, killed)
    } finally {
      await removeDirectory(directory)
    }
  })
}

test('J4: a crash in the middle of a replay does not make the engine look younger', async () => {
  const first = await makeDirectory()
  const second = await makeDirectory()
  const third = await makeDirectory()
  const workload = new Workload()
  const { empty } = workload.journal
  const blocks = Array.from({ length: 20 }, () => workload.nextBlock())
  const engine = await levelEngine.open(first, empty)
  try {
    await engine.apply(blocks)
    // A copy of an open store is what a crash leaves.
    await cp(first, second, { recursive: true })
    const replaying = await levelEngine.open(second, empty)
    assert.deepEqual(replaying.opened, { checkpoint: undefined, applied: workload.journal.end })
    for (const block of blocks.slice(0, 7)) await replaying.apply([block])
    await cp(second, third, { recursive: true })
    await replaying.close()
    const again = await levelEngine.open(third, empty)
    assert.deepEqual(again.opened, { checkpoint: undefined, applied: workload.journal.end })
    assert.deepEqual(again.snapshot().position, blocks[6]?.end)
    await again.apply(blocks)
    assert.deepEqual(await contentOf(again), await expectedContent(workload, workload.journal.end.sequence))
    await again.close()
    const done = await levelEngine.open(third, empty)
    assert.deepEqual(done.opened, { checkpoint: workload.journal.end, applied: workload.journal.end })
    await done.close()
  } finally {
    await engine.close()
    for (const directory of [first, second, third]) await removeDirectory(directory)
  }
})

test('J4: without a replay, what was applied after the checkpoint is never proven', async () => {
  const first = await makeDirectory()
  const second = await makeDirectory()
  const workload = new Workload()
  const { empty } = workload.journal
  const engine = await levelEngine.open(first, empty)
  try {
    await engine.apply([workload.nextBlock()])
    const proven = await engine.checkpoint()
    await engine.apply([workload.nextBlock(), workload.nextBlock()])
    await cp(first, second, { recursive: true })
    for (let round = 0; round < 2; round++) {
      const crashed = await levelEngine.open(second, empty)
      assert.deepEqual(crashed.opened, { checkpoint: proven, applied: workload.journal.end })
      assert.deepEqual(await crashed.checkpoint(), proven)
      await crashed.close()
    }
  } finally {
    await engine.close()
    await removeDirectory(first)
    await removeDirectory(second)
  }
})

test('S8: the purge of a dropped family goes on after a restart', async () => {
  const directory = await makeDirectory()
  const copy = await makeDirectory()
  const workload = new Workload()
  const { journal } = workload
  try {
    const engine = await levelEngine.open(directory, journal.empty)
    const keys = Array.from({ length: 5000 }, (_, index) => put(`k${index}`, 'v', 1))
    await engine.apply([journal.append([{ type: 'createFamily', family: 1, name: 'x' }, ...keys])])
    await engine.apply([journal.append([{ type: 'dropFamily', family: 1 }])])
    await cp(directory, copy, { recursive: true })
    await engine.close()
    for (const each of [directory, copy]) {
      const opened = await levelEngine.open(each, journal.empty)
      await opened.apply(journal.blocks)
      await opened.close()
      const { ClassicLevel } = await import('classic-level')
      for (let tries = 0; ; tries++) {
        const store = new ClassicLevel(each, { keyEncoding: 'buffer' })
        const left = await store.keys({ gte: Buffer.from([0, 6]) as never }).all()
        await store.close()
        if (left.length === 0) break
        assert.ok(tries < 20, 'the purge comes to an end')
        const again = await levelEngine.open(each, journal.empty)
        await again.checkpoint()
        await again.close()
      }
    }
  } finally {
    await removeDirectory(directory)
    await removeDirectory(copy)
  }
})

test('F21: a directory whose CURRENT is missing is corrupt, not empty', async () => {
  const directory = await makeDirectory()
  const { journal } = new Workload()
  try {
    const engine = await levelEngine.open(directory, journal.empty)
    await engine.apply([journal.append([put('a', '1')])])
    await engine.close()
    await unlink(join(directory, 'CURRENT'))
    await assert.rejects(levelEngine.open(directory, journal.empty), (error: Error) => {
      assert.match(error.message, /CURRENT is missing/)
      assert.ok(error.message.includes(directory))
      return true
    })
    assert.equal((await filesOf(directory, '.ldb')).length, 1, 'nothing was deleted')
  } finally {
    await removeDirectory(directory)
  }
})

test('F22: a missing table file is corruption, named with its directory', async () => {
  const directory = await makeDirectory()
  const { journal } = new Workload()
  try {
    const engine = await levelEngine.open(directory, journal.empty)
    await engine.apply([journal.append([put('a', '1')])])
    await engine.close()
    for (const path of await filesOf(directory, '.ldb')) await unlink(path)
    await rejectsWith('CORRUPTION', () => levelEngine.open(directory, journal.empty))
  } finally {
    await removeDirectory(directory)
  }
})

test('a store that Understudy did not make is left alone', async () => {
  const directory = await makeDirectory()
  const { journal } = new Workload()
  try {
    const { ClassicLevel } = await import('classic-level')
    const foreign = new ClassicLevel(directory)
    await foreign.put('a', '1')
    await foreign.close()
    await rejectsWith('FOREIGN_DIRECTORY', () => levelEngine.open(directory, journal.empty))
  } finally {
    await removeDirectory(directory)
  }
})

test('J4: an engine that closed cleanly opens without a replay', async () => {
  const directory = await makeDirectory()
  const workload = new Workload()
  try {
    const engine = await levelEngine.open(directory, workload.journal.empty)
    await engine.apply([workload.nextBlock(), workload.nextBlock()])
    await engine.close()
    for (const path of await filesOf(directory, '.log')) await writeFile(path, '')
    const again = await levelEngine.open(directory, workload.journal.empty)
    assert.ok((await scanned(again)).length > 0)
    await again.close()
  } finally {
    await removeDirectory(directory)
  }
})
