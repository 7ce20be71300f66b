/**
 * How often a property is tried, or how much must at least have happened meanwhile. Mutation testing runs the same
 * tests thousands of times, and tries each property less often: UNDERSTUDY_PROPERTY_SHARE=0.1 is a tenth. The cases are
 * the same in every run then: bad luck must not be taken for a mutant that was found. Nor is a smaller case looked for.
 */
import fc from 'fast-check'

const given = process.env.UNDERSTUDY_PROPERTY_SHARE
const share = Number(given ?? 1)
if (given !== undefined) fc.configureGlobal({ seed: 1, endOnFailure: true })

export function propertyRuns(full: number): number {
  return Math.ceil(full * share)
}

/** Of places that are tried one after another: all of them, or every so many-th. */
export const placesStep = Math.max(1, Math.round(1 / share))
