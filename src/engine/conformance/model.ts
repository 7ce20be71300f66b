import assert from 'node:assert/strict'
import type { Operation } from '../../core/entry.js'
import type { Engine } from '../../ports/engine.js'
import { bytesOf, type CaseBody, create, del, delRange, drop, type Fixture, generator, put, readAll } from './kit.js'

/** What an engine should hold: per family its entries, keys as binary strings (which sort as their bytes do). */
type Model = Map<number, Map<string, string>>

const alphabet = ['\0', '\x01', 'a', 'b', '\x7f', '\xff']

/** Random blocks against plain maps; reads in between, the engine opened again now and then. */
export function modelCase(seed: number): CaseBody {
  return async (fixture) => {
    const random = generator(seed)
    const below = (bound: number) => random() % bound
    const model: Model = new Map([[0, new Map()]])
    let familyNext = 1
    const randomKey = () => Array.from({ length: below(4) }, () => alphabet[below(alphabet.length)]).join('')
    const randomFamily = () => below(familyNext + 1)

    const randomOperation = (): Operation => {
      const dice = below(100)
      if (dice < 50) return binaryPut(randomFamily(), randomKey(), randomKey())
      if (dice < 75) return del([...Buffer.from(randomKey(), 'latin1')], randomFamily())
      if (dice < 94) {
        const [start, end] = [randomKey(), randomKey()].map((key) => [...Buffer.from(key, 'latin1')])
        return delRange(start ?? [], end ?? [], randomFamily())
      }
      if (dice < 97) return create(familyNext++, `family ${familyNext}`)
      return drop(1 + below(familyNext + 1))
    }

    for (let round = 0; round < 60; round++) {
      const blocks = Array.from({ length: 1 + below(3) }, () =>
        fixture.journal.append(
          ...Array.from({ length: 1 + below(4) }, () => {
            const operations = Array.from({ length: below(8) }, randomOperation)
            for (const operation of operations) fold(model, operation)
            return operations
          }),
        ),
      )
      await fixture.engine.apply(blocks)
      if (below(10) === 0) await restart(fixture)
      if (below(5) === 0) await compare(fixture.engine, model, `seed ${seed}, round ${round}`)
    }
    await compare(fixture.engine, model, `seed ${seed}, at the end`)
  }
}

function binaryPut(family: number, key: string, value: string): Operation {
  return put([...Buffer.from(key, 'latin1')], [...Buffer.from(value, 'latin1')], family)
}

async function restart(fixture: Fixture): Promise<void> {
  await fixture.reopen()
  await fixture.replay()
}

function fold(model: Model, operation: Operation): void {
  if (operation.type === 'createFamily') {
    model.set(operation.family, new Map())
    return
  }
  if (operation.type === 'dropFamily') {
    model.delete(operation.family)
    return
  }
  const entries = model.get(operation.family)
  if (entries === undefined) return
  const binary = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')
  if (operation.type === 'put') entries.set(binary(operation.key), binary(operation.value))
  else if (operation.type === 'del') entries.delete(binary(operation.key))
  else {
    const [start, end] = [binary(operation.start), binary(operation.end)]
    for (const key of [...entries.keys()]) if (key >= start && key < end) entries.delete(key)
  }
}

async function compare(engine: Engine, model: Model, when: string): Promise<void> {
  assert.deepEqual(
    engine.families.map(({ id }) => id).sort((a, b) => a - b),
    [...model.keys()].sort((a, b) => a - b),
    `families (${when})`,
  )
  for (const [family, entries] of model) {
    const expected = [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
    for (const reverse of [false, true]) {
      const found: Array<[string, string]> = []
      const iterator = engine.scan(family, { reverse })
      for (;;) {
        const some = await iterator.next(7)
        if (some.length === 0) break
        for (const [key, value] of some) {
          found.push([Buffer.from(key).toString('latin1'), Buffer.from(value).toString('latin1')])
        }
      }
      await iterator.close()
      assert.deepEqual(found, reverse ? [...expected].reverse() : expected, `family ${family} (${when})`)
    }
    const keys = expected.slice(0, 5).map(([key]) => Buffer.from(key, 'latin1'))
    const values = await engine.getMany(family, [...keys, bytesOf('absent')])
    assert.deepEqual(
      values.map((value) => (value === undefined ? undefined : Buffer.from(value).toString('latin1'))),
      [...expected.slice(0, 5).map(([, value]) => value), undefined],
      `getMany of family ${family} (${when})`,
    )
  }
  const ranged = await readAll(engine.scan(0, { limit: 0 }))
  assert.deepEqual(ranged, [])
}
