import { createStaticCoordinator } from '#src/coordinator/static.js'
import { limits } from '#src/core/limits.js'
import type { NodeStarter } from '#src/database/options.js'
import { levelEngine } from '#src/engine/level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { createPinoLogger } from '#src/platform/pino-logger.js'
import type { EngineFactory } from '#src/ports/engine.js'
import type { FileSystem } from '#src/ports/file-system.js'
import { silentLogger } from '#src/ports/logger.js'
import { Node } from '#src/runtime/node.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'

/** Starts a primary at the location together with a standby of its own that every write must reach. */
export function pairStarter(): NodeStarter {
  const network = createInMemoryNetwork()
  let count = 0
  return async (location, options) => {
    count += 1
    const cluster = `pair${count}`
    const address = (name: string) => `${name}.${cluster}:1`
    const make = (name: string, files: FileSystem, directory: string, engines: EngineFactory) =>
      Node.create({
        files,
        directory,
        version: '0',
        cluster: 'pair',
        node: name,
        createIfMissing: name === 'b' || options.createIfMissing !== false,
        errorIfExists: name === 'a' && options.errorIfExists === true,
        journals: createJournalFactory(files, {
          clock: nodeClock,
          random: nodeRandom,
          segmentBytes: limits.segmentBytesMin,
        }),
        engines,
        clock: nodeClock,
        random: nodeRandom,
        logger:
          process.env.TEST_LOG === undefined
            ? silentLogger
            : createPinoLogger({ level: 'debug' }).child({ node: name }),
        coordinator: createStaticCoordinator({
          node: name,
          members: ['a', 'b'].map((node) => ({ node, address: address(node) })),
          initialPrimary: 'a',
        }),
        transport: network.transport(address(name)),
        shards: [
          {
            name: 'main',
            advertise: () => address(name),
            settings: { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
            checkpointBytes: limits.checkpointBytes,
            checkpointIntervalMs: limits.checkpointIntervalMs,
            slotRetainBytes: limits.slotRetainBytesMax,
            writeTimeoutMs: limits.writeTimeoutMs,
            bootstrapMaxBytesPerSecond: undefined,
          },
        ],
      })
    const standby = make('b', new SimulatedDisk().process(), '/b', memoryEngine)
    const primary = make('a', nodeFileSystem, location, levelEngine)
    await standby.start()
    try {
      await primary.start()
    } catch (error) {
      await standby.close()
      throw error
    }
    return {
      name: primary.name,
      cluster: primary.cluster,
      shard: (name) => primary.shard(name),
      status: () => primary.status(),
      metrics: () => primary.metrics(),
      close: async () => {
        await primary.close()
        await standby.close()
      },
    }
  }
}
