import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { runAbstractLevelSuite } from '../support/abstract-level-suite.js'
import { pairStarter } from '../support/pair-starter.js'

test("abstract-level's own suite passes on a primary with a standby that holds every write", async (context) => {
  const start = pairStarter()
  const result = await runAbstractLevelSuite((location, options) => new UnderstudyLevel(location, options, start))
  context.diagnostic(`${result.assertions} assertions, ${result.failures} failed`)
  assert.equal(result.failures, 0, result.failed)
  assert.ok(result.assertions > 1000, `${result.assertions} assertions`)
})
