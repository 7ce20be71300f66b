import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isFailure } from '#src/errors.js'
import { JournalWatch, readAll, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { placesStep } from '../support/property-runs.js'
import { settle, simulatedFactory } from './support.js'

const everything = { bytesMax: 1e9, limitSequence: 1e9 }

async function filled(): Promise<{
  disk: SimulatedDisk
  blocks: SampleBlocks
  made: ReturnType<SampleBlocks['many']>
}> {
  const disk = new SimulatedDisk()
  const factory = simulatedFactory(disk.process())
  const start = { base: sampleBase, epochs: [] }
  const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
  const blocks = new SampleBlocks()
  const made = blocks.many(40, { valueBytes: 5000 })
  for (const block of made) {
    journal.append([block])
    await journal.mark()
  }
  assert.ok(journal.segments.length > 3)
  await journal.close()
  return { disk, blocks, made }
}

describe('reading while the journal changes', () => {
  test('F23: a reader across a cut gets what stands, before or after, and never finds damage', async () => {
    const { disk, made } = await filled()
    const to = made[21]?.end ?? sampleBase
    for (const first of [15, 20, 21, 30]) {
      const from = made[first]?.end ?? sampleBase
      const outcomes = new Set<string>()
      for (let delay = 0; delay < 400; delay += 10 * placesStep) {
        const copy = disk.clone()
        const factory = simulatedFactory(copy.process(), { tailCacheBytes: 0 })
        const { journal } = await factory.open('/journal', sampleIdentity, new JournalWatch())
        await settle()
        // The reader's first read takes a while, so that the cut overtakes it.
        let isFirst = true
        copy.latency = (operation) => {
          if (operation !== 'read' || !isFirst) return undefined
          isFirst = false
          return settle(delay)
        }
        const reading = journal.read(from, everything)
        let cut = false
        const cutting = journal.truncate(to).then(() => {
          cut = true
        })
        try {
          const blocks = await reading
          const early = !cut
          const found = blocks.map((block) => block.end.chain)
          const expected = made.slice(first + 1).map((block) => block.end.chain)
          assert.deepEqual(found, expected.slice(0, found.length))
          const withinCut = found.length <= Math.max(0, 21 - first)
          assert.ok(withinCut || early, 'cut blocks are not served after the cut')
          outcomes.add(withinCut ? 'after' : 'before')
        } catch (error) {
          assert.ok(isFailure(error, 'DIVERGED') && from.sequence > to.sequence, `${first} ${delay}: ${error}`)
          outcomes.add('diverged')
        }
        await cutting
        assert.equal(await journal.positionAt(to.sequence + 1), undefined)
        assert.equal((await readAll(journal)).length, 22)
        await journal.close()
      }
      assert.ok(outcomes.size >= 1)
    }
  })

  test('I6: a reader of a segment that is trimmed meanwhile gets its blocks or TOO_OLD', async () => {
    const { disk, made } = await filled()
    const outcomes = new Set<string>()
    for (let delay = 0; delay < 60; delay += Math.min(3, placesStep)) {
      const copy = disk.clone()
      const factory = simulatedFactory(copy.process(), { tailCacheBytes: 0 })
      const { journal } = await factory.open('/journal', sampleIdentity, new JournalWatch())
      const trimming = journal.trim(40)
      await settle(delay)
      try {
        const found = await journal.read(sampleBase, everything)
        assert.deepEqual(
          found.map((block) => block.end.chain),
          made.slice(0, found.length).map((block) => block.end.chain),
        )
        assert.ok(found.length > 0)
        outcomes.add('blocks')
      } catch (error) {
        assert.ok(isFailure(error, 'TOO_OLD'), String(error))
        outcomes.add('too old')
      }
      await trimming
      await journal.close()
    }
    assert.deepEqual([...outcomes].sort(), ['blocks', 'too old'])
  })

  test('closing while blocks are on their way makes them durable first', async () => {
    const { disk, blocks } = await filled()
    const { journal } = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
    for (let count = 0; count < 20; count++) journal.append([blocks.next()])
    await journal.close()
    disk.crash({ keep: 'none' })
    const again = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
    assert.equal(again.cutBytes, 0)
    assert.deepEqual(again.journal.durable, blocks.end)
    await again.journal.close()
  })

  test('a cut waits for what is queued; a mark asked for meanwhile is written after it', async () => {
    const { disk, blocks, made } = await filled()
    const { journal } = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
    const more = blocks.many(3)
    journal.append(more)
    const cutting = journal.truncate(more[1]?.end ?? sampleBase)
    const marking = journal.mark()
    await Promise.all([cutting, marking])
    assert.equal(journal.durable.sequence, made.length + 2)
    await journal.close()
  })
})
