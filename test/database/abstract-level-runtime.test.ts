import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '#src/core/limits.js'
import type { NodeStarter } from '#src/database/options.js'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { startDatabaseNode } from '#src/open.js'
import { runAbstractLevelSuite } from '../support/abstract-level-suite.js'

test("abstract-level's own suite passes on a primary without a standby", async (context) => {
  // Some thousand databases: small journal files, as the speed of a disk is not what is tested.
  const start: NodeStarter = (location, options, signal) =>
    startDatabaseNode(location, { ...options, ...{ segmentBytes: limits.segmentBytesMin } }, signal)
  const result = await runAbstractLevelSuite((location, options) => new UnderstudyLevel(location, options, start))
  context.diagnostic(`${result.assertions} assertions, ${result.failures} failed`)
  assert.equal(result.failures, 0, result.failed)
  assert.ok(result.assertions > 1000, `${result.assertions} assertions`)
})
