import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { levelEngine } from '#src/engine/level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { runAbstractLevelSuite } from '../support/abstract-level-suite.js'
import { localStarter } from '../support/local-node.js'
import { needsRocksdb } from '../support/rocksdb.js'

for (const factory of [memoryEngine, levelEngine, rocksdbEngine]) {
  const needs = factory === rocksdbEngine ? needsRocksdb : {}
  test(`abstract-level's own suite passes on engine ${factory.kind}`, needs, async (context) => {
    const start = localStarter(factory)
    const result = await runAbstractLevelSuite((location, options) => new UnderstudyLevel(location, options, start))
    context.diagnostic(`${result.assertions} assertions, ${result.failures} failed`)
    assert.equal(result.failures, 0, result.failed)
    assert.ok(result.assertions > 1000, `${result.assertions} assertions`)
  })
}
