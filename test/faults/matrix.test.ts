/** A sample of the matrix; `npm run test:faults` runs all of it. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { coordinatorNames, nodeNames, runCell } from './matrix/cell.js'
import { kinds } from './matrix/kinds.js'
import { Network } from './matrix/network.js'
import { commandOf, lineOf } from './matrix/report.js'
import { chooseSeed } from './support.js'

const sample = [
  ['kill', 1],
  ['stop', 1],
  ['partition-primary', 1],
  ['partition-one-way', 1],
  ['kill-all', 1],
  ['switchover', 2],
] as const

describe('faults of real processes with the builtin coordinator, durability standby', () => {
  const made = Network.create([...nodeNames, ...coordinatorNames('builtin')])
  const network = made instanceof Network ? made : undefined
  const seed = chooseSeed()
  after(() => network?.close())

  for (const [name, rounds] of sample) {
    const kind = kinds.find((one) => one.name === name)!
    test(`I1, I2, I3, I7, F34, F35, F36: ${rounds} rounds of ${name}`, {
      timeout: 60_000 + rounds * 60_000,
    }, async (context) => {
      if (kind.needs.includes('network') && network === undefined) {
        return context.skip('this user may not make network namespaces')
      }
      const options = {
        kind,
        coordinator: 'builtin',
        durability: 'standby',
        first: 0,
        rounds,
        seed,
        network,
        writers: 64,
        readers: 32,
        writesPerSecond: 1_000,
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
        assert.ok(acknowledged > 200 && operations > 200, 'F46: something was checked')
        seen += 1
      }
      assert.equal(seen, rounds)
    })
  }
})
