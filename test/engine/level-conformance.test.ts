import { describe, test } from 'node:test'
import { engineConformance } from '#src/engine/conformance.js'
import { levelEngine } from '#src/engine/level.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const cases = await engineConformance({ factory: levelEngine, makeDirectory, removeDirectory })

describe('engine level', () => {
  for (const { name, run } of cases) test(name, run)
})
