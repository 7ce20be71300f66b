/** A sample of the faults of disks; `npm run test:faults` runs all of them, again and again. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { needsRocksdb } from '../support/rocksdb.js'
import { needsShim } from './fs-shim/shim-library.js'
import { runCell } from './matrix/cell.js'
import { diskKinds } from './matrix/disk-kinds.js'
import { commandOf, lineOf } from './matrix/report.js'
import { chooseSeed, fullRounds } from './support.js'

describe('disks that fail below real processes, builtin coordinator, durability standby', needsShim(), () => {
  const seed = chooseSeed()
  const wanted = process.env.UNDERSTUDY_FAULT_KINDS?.split(',')
  for (const kind of diskKinds.filter(({ name }) => wanted === undefined || wanted.includes(name))) {
    const rounds = fullRounds > 0 ? fullRounds : 1
    test(`I1, I2, I3, I7, F17, F34: ${rounds} rounds of ${kind.name}`, {
      timeout: 60_000 + rounds * 60_000,
      skip: kind.args?.includes('rocksdb') === true && needsRocksdb.skip,
    }, async (context) => {
      const options = {
        kind,
        coordinator: 'builtin',
        durability: 'standby',
        // Kinds with variants show another one in each run.
        first: Number(process.env.UNDERSTUDY_FAULT_FIRST ?? seed % 10),
        rounds,
        seed,
        network: undefined,
        writers: 32,
        readers: 16,
        writesPerSecond: 600,
        failoverMs: 1_000,
      } as const
      let seen = 0
      for await (const result of runCell(options)) {
        context.diagnostic(lineOf(result))
        const { problems, failures, kept, acknowledged, operations } = result
        assert.equal(
          problems.count,
          0,
          `${problems.texts.join('\n')}\n${failures}\nlogs and data: ${kept}\nagain: ${commandOf(options, result)}`,
        )
        assert.ok(acknowledged > 200 && operations > 100, 'F46: something was checked')
        seen += 1
      }
      assert.equal(seen, rounds)
    })
  }
})
