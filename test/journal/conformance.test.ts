import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JournalFixture, runJournalConformance } from '#src/journal/conformance.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { placesStep } from '../support/property-runs.js'
import { simulatedFactory } from './support.js'

runJournalConformance('simulated disk', async () => ({
  factory: simulatedFactory(new SimulatedDisk().process(), { tailCacheBytes: 20_000 }),
  directory: '/journal',
  cleanup: async () => {},
}))

runJournalConformance('simulated disk, no memory for blocks', async () => ({
  factory: simulatedFactory(new SimulatedDisk().process(), { tailCacheBytes: 0 }),
  directory: '/journal',
  cleanup: async () => {},
}))

// Its fsyncs take their time, and mutation testing runs this thousands of times.
if (placesStep === 1) runJournalConformance('file system of this machine', onThisMachine)

async function onThisMachine(): Promise<JournalFixture> {
  const parent = await mkdtemp(join(tmpdir(), 'understudy-journal-'))
  return {
    factory: createJournalFactory(nodeFileSystem, {
      clock: nodeClock,
      random: nodeRandom,
      segmentBytes: 1024 * 1024,
      tailCacheBytes: 50_000,
    }),
    directory: join(parent, 'journal'),
    cleanup: () => rm(parent, { recursive: true }),
  }
}
