import { describe, test } from 'node:test'
import { type EngineCase, engineConformance } from '#src/engine/conformance.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const cases: readonly EngineCase[] =
  needsRocksdb.skip === false ? await engineConformance({ factory: rocksdbEngine, makeDirectory, removeDirectory }) : []

describe('engine rocksdb', needsRocksdb, () => {
  for (const { name, run } of cases) test(name, run)
})
