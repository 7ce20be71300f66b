import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Family, Operation } from '#src/core/entry.js'
import { FamilyTable } from '#src/engine/family-table.js'
import { UnderstudyError } from '#src/errors.js'
import type { Engine } from '#src/ports/engine.js'
import { FamilyMaker } from '#src/runtime/family-maker.js'
import type { WriteQueue } from '#src/runtime/write-queue.js'

const origin = { node: 'a', boot: '1'.repeat(16) }

/** A primary whose engine has the families that its journal says, and whose queue refuses what `refuses` holds. */
function primary(epochNumber = 1, table = new FamilyTable()) {
  const refusals: UnderstudyError[] = []
  const engine = {
    get families() {
      return table.families
    },
    get familyIdNext() {
      return table.idNext
    },
  } as Engine
  const queue = {
    submit: async ([operation]: readonly Operation[]) => {
      const refusal = refusals.shift()
      if (refusal !== undefined) throw refusal
      table = table.with(operation!)
    },
  } as unknown as WriteQueue
  const maker = new FamilyMaker(engine, queue, epochNumber)
  return {
    refusals,
    families: () => table.families,
    create: (name: string): Promise<Family> => maker.create(name, origin, 1, {}),
  }
}

test('S8: a family whose creation was refused can be created after another one', async () => {
  const { refusals, families, create } = primary()
  refusals.push(new UnderstudyError('BACKPRESSURE', 'not taken'))
  await assert.rejects(create('one'), { failure: 'BACKPRESSURE' })
  const two = await create('two')
  const one = await create('one')
  // Ids go up in the journal: an engine that has seen a higher one takes a lower one for done long ago.
  assert.ok(one.id > two.id)
  assert.deepEqual(families().slice(1), [two, one])
})

test('S8: a family whose creation may still commit keeps its id', async () => {
  const { refusals, create } = primary()
  refusals.push(new UnderstudyError('ACK_TIMEOUT', 'nobody knows', { outcome: 'unknown' }))
  await assert.rejects(create('one'), { outcome: 'unknown' })
  assert.equal((await create('one')).id, 1)
  assert.equal((await create('two')).id, 2)
})

test('S8: nor does it lose it to another attempt that is refused', async () => {
  const { refusals, create } = primary()
  refusals.push(new UnderstudyError('ACK_TIMEOUT', 'nobody knows', { outcome: 'unknown' }))
  refusals.push(new UnderstudyError('BACKPRESSURE', 'not taken'))
  await assert.rejects(create('one'), { outcome: 'unknown' })
  await assert.rejects(create('one'), { failure: 'BACKPRESSURE' })
  assert.equal((await create('two')).id, 2)
  assert.equal(
    (await create('one')).id,
    1,
    'the first attempt may commit: another id would be a second family of this name',
  )
})

test('S8: what a lost epoch created has ids that no later epoch gives', async () => {
  const lost = primary(2)
  const created = [await lost.create('one'), await lost.create('two')]
  // The history that is left knows nothing of it.
  const next = primary(3)
  const others = [await next.create('two'), await next.create('three')]
  const ids = new Set([...created, ...others].map(({ id }) => id))
  assert.equal(ids.size, 4)
  // And where it knows all of it, ids go up all the same.
  const { id } = await primary(2, new FamilyTable().with({ type: 'createFamily', family: 9_000, name: 'x' })).create(
    'y',
  )
  assert.equal(id, 9_001)
})
