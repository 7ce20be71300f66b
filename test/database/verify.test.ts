import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { failsWith, openLocal } from '../support/open-local.js'
import { pairStarter } from '../support/pair-starter.js'

test('db.verify() compares with the standby, tells its progress, and ends when its signal does', async (context) => {
  const directory = await makeDirectory()
  const db = new UnderstudyLevel(directory, {}, pairStarter())
  context.after(async () => {
    await db.close()
    await removeDirectory(directory)
  })
  await db.batch(Array.from({ length: 1_500 }, (_, index) => ({ type: 'put', key: `k${index}`, value: 'v' })))
  const phases: string[] = []
  const result = await db.verify({ onProgress: ({ phase }) => phases.push(phase) })
  assert.equal(result.verdict, 'equal')
  assert.equal(result.entries, 1_500)
  assert.deepEqual(
    result.nodes.map(({ node, state }) => `${node} ${state}`),
    ['b equal'],
  )
  assert.equal(result.position?.sequence, db.position?.sequence)
  assert.deepEqual(phases.slice(0, 2), ['waiting', 'comparing'])
  await assert.rejects(db.verify({ signal: AbortSignal.abort() }), failsWith('ABORTED'))
})

test('F46: a database without other nodes is not "equal": it refuses', async (context) => {
  const { db } = await openLocal(context)
  await assert.rejects(db.verify(), failsWith('VERIFY_REFUSED'))
  await db.close()
  await assert.rejects(db.verify(), failsWith('CLOSED'))
})
