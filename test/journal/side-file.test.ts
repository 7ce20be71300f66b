import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspectJournal, rawBlocks } from '#src/journal/inspect.js'
import { JournalWatch, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { placesStep, propertyRuns } from '../support/property-runs.js'
import { settle, simulatedFactory } from './support.js'

const start = { base: sampleBase, epochs: [] }
const name = 'divergent-1@a-6.journal'

async function raw(disk: SimulatedDisk, path: string): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of rawBlocks(disk.process(), path)) parts.push(bytes)
  return Buffer.concat(parts)
}

describe('side file', () => {
  test('B3: what is cut is read back byte by byte, over several segments and with large values', async () => {
    const disk = new SimulatedDisk()
    const factory = simulatedFactory(disk.process())
    const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
    const blocks = new SampleBlocks()
    const made = blocks.many(40, { entryCount: 1, valueBytes: 7001 })
    journal.append(made)
    const after = made[4]!.end
    const saved = await journal.saveTail({ after, commonSequence: 5 }, '/', name)
    assert.ok(journal.segments.length > 3)
    assert.deepEqual({ ...saved, bytes: 0 }, { commonSequence: 5, firstSequence: 6, lastSequence: 40, bytes: 0 })
    const expected = Buffer.concat(made.slice(5).map((block) => block.bytes))
    assert.ok((await raw(disk, `/${name}`)).equals(expected))
    assert.deepEqual(await factory.describeTail(`/${name}`), saved)
    const records = []
    for await (const record of inspectJournal(disk.process(), `/${name}`)) records.push(record)
    assert.deepEqual([...new Set(records.map((record) => record.type))], ['segment', 'block', 'mark'])
    await journal.close()
  })

  test('B3: damage in a side file is told as corruption, also in its last block', async () => {
    const disk = new SimulatedDisk()
    const factory = simulatedFactory(disk.process())
    const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
    journal.append(new SampleBlocks().many(8))
    const saved = await journal.saveTail({ after: (await journal.positionAt(5))!, commonSequence: 5 }, '/', name)
    disk.corrupt(`/${name}`, (content) => {
      const changed = Uint8Array.from(content)
      changed[content.length - 64 - 20]! ^= 1
      return changed
    })
    const damages = []
    for await (const record of inspectJournal(disk.process(), `/${name}`)) {
      if (record.type === 'damage') damages.push(record.verdict)
    }
    assert.deepEqual(damages, ['corruption'])
    // Whoever cuts the same again finds that the file is not what it should be, and does not overwrite it.
    assert.equal(
      await journal.saveTail({ after: (await journal.positionAt(5))!, commonSequence: 5 }, '/', name),
      undefined,
    )
    assert.ok(saved !== undefined)
    await journal.close()
  })

  test('B3: at whatever operation the power goes, the file is there whole or not at all, and is written again', async () => {
    let crashes = 0
    for (let at = 1; ; at += placesStep) {
      const disk = new SimulatedDisk()
      const journal = await simulatedFactory(disk.process()).create(
        '/journal',
        sampleIdentity,
        start,
        new JournalWatch(),
      )
      const made = new SampleBlocks().many(30, { valueBytes: 5000 })
      journal.append(made)
      await journal.mark()
      const after = made[4]!.end
      let operations = 0
      let resolved = false
      let crashed = false
      disk.fault = () => {
        if (++operations !== at) return undefined
        crashed = true
        disk.crash({ keep: at % 3 === 0 ? 'all' : at % 3 === 1 ? 'none' : (change) => change.index % 2 === 0 })
        return undefined
      }
      void journal.saveTail({ after, commonSequence: 5 }, '/', name).then(() => {
        resolved = true
      })
      await settle(3000)
      disk.fault = undefined
      // What was promised when it resolved must not rest in the cache.
      disk.crash({ keep: 'none' })
      const factory = simulatedFactory(disk.process())
      const opened = await factory.open('/journal', sampleIdentity, new JournalWatch())
      const again = await opened.journal.saveTail({ after, commonSequence: 5 }, '/', name)
      assert.equal(again?.lastSequence, 30)
      assert.ok((await raw(disk, `/${name}`)).equals(Buffer.concat(made.slice(5).map((block) => block.bytes))))
      await opened.journal.close()
      if (!crashed) {
        assert.ok(resolved)
        break
      }
      assert.ok(!resolved)
      crashes++
    }
    assert.ok(crashes >= propertyRuns(11), `${crashes} places were tried`)
  })
})
