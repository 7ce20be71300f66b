import { bugsBesideTests } from './bugs-beside-tests.js'
import { bugsInClusters } from './bugs-in-clusters.js'
import type { PlantedBug } from './planted-bug.js'

export const plantedBugs: readonly PlantedBug[] = [...bugsInClusters, ...bugsBesideTests]
