import { describe, test } from 'node:test'
import { engineConformance } from '#src/engine/conformance.js'
import { memoryEngine } from '#src/engine/memory.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const cases = await engineConformance({ factory: memoryEngine, makeDirectory, removeDirectory })

describe('engine memory', () => {
  for (const { name, run } of cases) test(name, run)
})
