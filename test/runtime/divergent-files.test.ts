import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatDivergentName, parseDivergentName } from '#src/core/divergent.js'
import { limits } from '#src/core/limits.js'
import { JournalWatch, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import { silentLogger } from '#src/ports/logger.js'
import { DivergentFiles } from '#src/runtime/divergent-files.js'
import { ShardStore } from '#src/runtime/shard-store.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { simulatedFactory } from '../journal/support.js'

async function scene() {
  const disk = new SimulatedDisk()
  const process = disk.process()
  await process.makeDirectory('/data')
  const store = new ShardStore(process, '/data', 'main')
  await store.open()
  const factory = simulatedFactory(process)
  const journal = await factory.create('/journal', sampleIdentity, { base: sampleBase, epochs: [] }, new JournalWatch())
  return { process, store, factory, journal, files: new DivergentFiles(store, factory, silentLogger) }
}

describe('side files of a shard', () => {
  test('names say epoch and first sequence, whatever the node is called', () => {
    for (const node of ['a', 'a-1', 'a.b-2.3', '1']) {
      for (const copy of [0, 7]) {
        const name = { epoch: { number: 3, node }, sequence: 101, copy }
        assert.deepEqual(parseDivergentName(formatDivergentName(name)), name)
      }
    }
    const plain = { epoch: { number: 3, node: 'a' }, sequence: 101, copy: 0 }
    assert.equal(formatDivergentName(plain), 'divergent-3@a-101.journal')
    for (const text of ['divergent-3@a.journal', 'divergent-3@a-1.journal.tmp', '00000000000000000001.journal']) {
      assert.equal(parseDivergentName(text), undefined)
    }
  })

  test('B3: another end of the same beginning gets a name of its own; the same is written once', async () => {
    const { journal, files, store, factory } = await scene()
    const blocks = new SampleBlocks()
    journal.append(blocks.many(8))
    assert.equal(await files.save(journal, 8), undefined, 'nothing is cut')
    assert.equal((await files.save(journal, 5))?.name, 'divergent-1@a-6.journal')
    assert.equal((await files.save(journal, 5))?.name, 'divergent-1@a-6.journal')
    journal.append(blocks.many(1))
    assert.equal((await files.save(journal, 5))?.name, 'divergent-1@a-6.1.journal')
    const expected = [
      ['divergent-1@a-6.journal', 3],
      ['divergent-1@a-6.1.journal', 4],
    ]
    assert.deepEqual(
      files.status.map(({ name, entries }) => [name, entries]),
      expected,
    )
    const loaded = new DivergentFiles(store, factory, silentLogger)
    await loaded.load()
    assert.deepEqual(loaded.status, files.status)
    assert.match(loaded.warnings[0] ?? '', /2 files .* keep 7 entries/)
    await journal.close()
  })

  test('B4: what had been trimmed already is counted', async () => {
    const { journal, files } = await scene()
    journal.append(new SampleBlocks().many(60, { valueBytes: 9000 }))
    await journal.mark()
    await journal.trim(40)
    const base = journal.base.sequence
    assert.ok(base > 10)
    const file = await files.save(journal, 4)
    assert.deepEqual([file?.firstSequence, file?.lastSequence, file?.missingEntries], [base + 1, 60, base - 4])
    assert.equal(file?.name, 'divergent-1@a-5.journal')
    await journal.close()
  })

  test('the oldest goes when there are too many, which is said, and never the newest', async () => {
    const { journal, files, process, store } = await scene()
    journal.append(new SampleBlocks().many(limits.divergentFilesMax + 3))
    for (let common = limits.divergentFilesMax + 1; common >= 0; common--) await files.save(journal, common)
    assert.equal(files.status.length, limits.divergentFilesMax)
    assert.equal(files.status[0]?.name, 'divergent-1@a-1.journal', 'the newest, though it is the first in order')
    assert.match(files.warnings[1] ?? '', /was removed to make room/)
    const names = (await process.list(store.root)).filter((name) => parseDivergentName(name) !== undefined)
    assert.equal(names.length, limits.divergentFilesMax)
    await journal.close()
  })

  test('a journal that is replaced leaves behind what the new history lacks', async () => {
    const { journal, files } = await scene()
    const blocks = new SampleBlocks()
    journal.append(blocks.many(9))
    await journal.close()
    const epochs = [{ epoch: { number: 1, node: 'a' }, firstSequence: 1 }]
    const replace = (identity: typeof sampleIdentity, newEpochs: typeof epochs, end: number) =>
      files.saveReplaced('/journal', identity, { epochs: newEpochs, end })
    assert.equal(await replace(sampleIdentity, epochs, 40), undefined, 'the new history goes on from it')
    const other = { epoch: { number: 2, node: 'b' }, firstSequence: 7 }
    assert.deepEqual((await replace(sampleIdentity, [...epochs, other], 40))?.entries, 3)
    assert.equal(await replace({ ...sampleIdentity, historyId: 'f'.repeat(32) }, epochs, 3), undefined)
    assert.equal(await files.saveReplaced('/nothing', sampleIdentity, { epochs, end: 1 }), undefined)
  })
})
