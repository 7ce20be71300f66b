import assert from 'node:assert/strict'
import type { RewoundKey } from '../../ports/engine.js'
import { bytesOf, type CaseBody, create, del, delRange, type Fixture, Journal, put, scanned } from './kit.js'

/** A journal that parts from the fixture's after `sequence`. */
function otherHistory(fixture: Fixture, sequence: number): Journal {
  const other = new Journal()
  other.blocks.push(...fixture.journal.blocks.filter((block) => block.end.sequence <= sequence))
  return other
}

function rewound(key: string, value: string | undefined, family = 0): RewoundKey {
  return { family, key: bytesOf(key), value: value === undefined ? undefined : bytesOf(value) }
}

/** Three entries that both histories have, then three that only this one has. */
async function diverge(fixture: Fixture): Promise<Journal> {
  await fixture.apply([create(1, 'users'), put('a', '1'), put('b', '1'), put('u', '1', 1)])
  await fixture.apply([put('c', '2')])
  await fixture.apply([del('a')])
  const other = otherHistory(fixture, 3)
  await fixture.apply([put('b', 'cut'), put('d', 'cut')])
  await fixture.apply([delRange('a', 'c')])
  await fixture.apply([put('u', 'cut', 1), put('v', 'cut', 1)])
  return other
}

const keys = [
  rewound('a', undefined),
  rewound('b', '1'),
  rewound('d', undefined),
  rewound('u', '1', 1),
  rewound('v', undefined, 1),
  rewound('x', 'of a family that is not here', 9),
]

async function expectCommon(fixture: Fixture): Promise<void> {
  assert.equal(await scanned(fixture.engine), 'b=1 c=2')
  assert.equal(await scanned(fixture.engine, 1), 'u=1')
}

export const rewindCases: Readonly<Record<string, CaseBody>> = {
  'B3: a rewind sets keys and takes the position back, and another history goes on from there': async (fixture) => {
    const { engine } = fixture
    const other = await diverge(fixture)
    const before = engine.snapshot()
    await engine.rewind(keys, other.end)
    assert.deepEqual(engine.applied, other.end)
    await expectCommon(fixture)
    assert.deepEqual(engine.snapshot().position, other.end)
    assert.equal(await scanned(engine, 1, { snapshot: before }), 'u=cut v=cut', 'what was taken before stays')
    await engine.apply([other.append([put('b', 'other'), create(2, 'more'), put('m', '1', 2)])])
    assert.deepEqual(engine.applied, other.end)
    assert.equal(await scanned(engine), 'b=other c=2')
    assert.equal(await scanned(engine, 2), 'm=1')
  },

  'B3: a rewind beside a checkpoint leaves the position that it says': async (fixture) => {
    const { engine } = fixture
    const other = await diverge(fixture)
    await Promise.all([engine.checkpoint(), engine.rewind(keys, other.end)])
    assert.deepEqual(engine.applied, other.end)
    assert.ok((await engine.checkpoint()).sequence <= other.end.sequence)
  },
}

/** For engines that keep what they hold. */
export const durableRewindCases: Readonly<Record<string, CaseBody>> = {
  'B3, J4: what was rewound is found again at the position it was taken back to': async (fixture) => {
    const other = await diverge(fixture)
    await fixture.engine.checkpoint()
    await fixture.engine.rewind(keys, other.end)
    await fixture.reopen()
    assert.deepEqual(fixture.engine.opened, { checkpoint: other.end, applied: other.end })
    await expectCommon(fixture)
  },

  'B3: the tail replayed over what was rewound gives what was there before, and it can be rewound again': async (
    fixture,
  ) => {
    const other = await diverge(fixture)
    const before = [await scanned(fixture.engine), await scanned(fixture.engine, 1)]
    await fixture.engine.rewind(keys, other.end)
    await fixture.reopen()
    await fixture.replay()
    assert.deepEqual([await scanned(fixture.engine), await scanned(fixture.engine, 1)], before)
    assert.deepEqual(fixture.engine.applied, fixture.journal.end)
    await fixture.engine.rewind(keys, other.end)
    await expectCommon(fixture)
  },
}
