import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { create, Journal, put, readAll } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const rounds = 15
const puts = 20_000

describe('engine rocksdb, flushes beside writes', needsRocksdb, () => {
  test('J4: a family that is created while a flush begins is in that flush with all of its batch, or not at all', async (context) => {
    const directory = await makeDirectory()
    context.after(() => removeDirectory(directory))
    let together = 0
    for (let round = 0; round < rounds; round++) {
      const path = join(directory, String(round))
      const copy = join(directory, `${round}-copy`)
      const journal = new Journal()
      const engine = await rocksdbEngine.open(path, journal.empty)
      await engine.apply([journal.append([put('first', 'block')])])
      const block = journal.append([
        create(1, 'born'),
        ...Array.from({ length: puts }, (_, at) => put(`k${at}`, 'v', 1)),
      ])
      const applying = engine.apply([block])
      // A flush at every moment of the apply, as the rounds go on.
      await delay(2 * round)
      await engine.checkpoint()
      await applying
      await cp(path, copy, { recursive: true })
      await engine.close()
      const crashed = await rocksdbEngine.open(copy, journal.empty)
      const { checkpoint } = crashed.opened
      const born = crashed.families.some(({ id }) => id === 1)
      if (checkpoint?.sequence === block.end.sequence) {
        together += 1
        assert.ok(born)
        assert.equal((await readAll(crashed.scan(1, { values: false }))).length, puts, `round ${round}`)
      } else assert.ok(!born, `round ${round}`)
      await crashed.close()
    }
    assert.ok(together > 0, `${together} of ${rounds} flushes had the batch`)
  })
})
