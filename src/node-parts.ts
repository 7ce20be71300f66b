import type { NodeOptions } from './config/node-options.js'
import { createEtcdCoordinator } from './coordinator/etcd/etcd-coordinator.js'
import { createStaticCoordinator } from './coordinator/static.js'
import { limits } from './core/limits.js'
import { timingsOf } from './core/timings.js'
import { levelEngine } from './engine/level.js'
import { memoryEngine } from './engine/memory.js'
import { createJournalFactory } from './journal/journal-factory.js'
import { nodeClock } from './platform/node-clock.js'
import { nodeFileSystem } from './platform/node-file-system.js'
import { nodeRandom } from './platform/node-random.js'
import type { Coordinator } from './ports/coordinator.js'
import type { EngineFactory, EngineKind } from './ports/engine.js'
import type { Logger } from './ports/logger.js'
import type { Transport } from './ports/transport.js'
import type { NodeParts } from './runtime/node.js'
import { version } from './version.js'

const engines: Readonly<Record<EngineKind, EngineFactory>> = { level: levelEngine, memory: memoryEngine }

/** Checked options as the parts of a node: the one place where adapters are chosen. */
export function createNodeParts(
  options: NodeOptions,
  hooks: {
    readonly logger: Logger
    readonly transport: Transport
    readonly advertise: () => string
    readonly createIfMissing: boolean
    readonly errorIfExists: boolean
  },
): NodeParts {
  const { logger, transport, advertise, createIfMissing, errorIfExists } = hooks
  return {
    files: nodeFileSystem,
    directory: options.data,
    version,
    cluster: options.cluster,
    node: options.node,
    createIfMissing,
    errorIfExists,
    journals: createJournalFactory(nodeFileSystem, {
      clock: nodeClock,
      random: nodeRandom,
      logger,
      segmentBytes: options.segmentBytes,
    }),
    engines: engines[options.engine],
    clock: nodeClock,
    random: nodeRandom,
    logger,
    coordinator: createCoordinator(options, logger),
    transport,
    shards: [
      {
        name: 'main',
        advertise,
        settings: {
          durability: options.durability,
          inSyncMin: options.inSyncMin,
          failoverMs: options.failoverMs,
          inSyncTimeoutMs: options.inSyncTimeoutMs,
        },
        checkpointBytes: options.checkpointBytes,
        checkpointIntervalMs: limits.checkpointIntervalMs,
        slotRetainBytes: options.slotRetainBytes,
        writeTimeoutMs: options.writeTimeoutMs,
        bootstrapMaxBytesPerSecond: options.bootstrapMaxRate,
      },
    ],
  }
}

/** It is not started: who starts, registers with and closes it is the node. */
function createCoordinator(options: NodeOptions, logger: Logger): Coordinator {
  const { coordinator } = options
  switch (coordinator?.kind) {
    case 'etcd': {
      const { endpoints, tls, username, password } = coordinator
      return createEtcdCoordinator({
        endpoints,
        ...(tls === undefined ? {} : { tls }),
        ...(username === undefined || password === undefined ? {} : { username, password }),
        cluster: options.cluster,
        registrationMs: timingsOf(options).registrationMs,
        clock: nodeClock,
        random: nodeRandom,
        logger,
      })
    }
    case 'static':
    case undefined:
      return createStaticCoordinator({
        node: options.node,
        members: coordinator?.members ?? [],
        initialPrimary: coordinator?.primary,
      })
  }
}
