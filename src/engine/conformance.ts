import { bootstrapCases, durableCases, volatileCases } from './conformance/durability.js'
import { type CaseBody, caseMaker, type EngineCase, type EngineConformanceOptions, Journal } from './conformance/kit.js'
import { modelCase } from './conformance/model.js'
import { readCases } from './conformance/reads.js'
import { durableRewindCases, rewindCases } from './conformance/rewind.js'
import { snapshotCases } from './conformance/snapshots.js'
import { writeCases } from './conformance/writes.js'

export type { EngineCase, EngineConformanceOptions } from './conformance/kit.js'

const defaultSeeds = [1, 2, 3, 4, 5]

/**
 * What every engine must do, as cases for any test runner:
 *
 *     for (const { name, run } of await engineConformance(options)) test(name, run)
 */
export async function engineConformance(options: EngineConformanceOptions): Promise<readonly EngineCase[]> {
  const make = caseMaker(options)
  const volatile = await isVolatile(options)
  const bodies: Record<string, CaseBody> = {
    ...readCases,
    ...writeCases,
    ...snapshotCases,
    ...bootstrapCases,
    ...rewindCases,
    ...(volatile ? volatileCases : { ...durableCases, ...durableRewindCases }),
  }
  for (const seed of options.seeds ?? defaultSeeds) {
    bodies[`I4: random blocks give what plain maps give (seed ${seed})`] = modelCase(seed)
  }
  return Object.entries(bodies).map(([name, body]) => make(name, body))
}

async function isVolatile(options: EngineConformanceOptions): Promise<boolean> {
  const directory = await options.makeDirectory()
  try {
    const engine = await options.factory.open(directory, new Journal().empty)
    await engine.close()
    return engine.volatile
  } finally {
    await options.removeDirectory(directory)
  }
}
