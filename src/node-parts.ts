import type { BuiltinCoordinator as BuiltinOptions } from './config/coordinator-builtin.js'
import type { EtcdCoordinator } from './config/coordinator-etcd.js'
import type { NodeOptions } from './config/node-options.js'
import { BuiltinCoordinator } from './coordinator/builtin/client.js'
import { localChannel } from './coordinator/builtin/local-channel.js'
import { remoteChannel } from './coordinator/builtin/remote-channel.js'
import { Voter } from './coordinator/builtin/voter.js'
import { createStaticCoordinator } from './coordinator/static.js'
import { limits } from './core/limits.js'
import { timingsOf } from './core/timings.js'
import { levelEngine } from './engine/level.js'
import { memoryEngine } from './engine/memory.js'
import { createRocksdbEngine } from './engine/rocksdb.js'
import { UnderstudyError } from './errors.js'
import { createJournalFactory } from './journal/journal-factory.js'
import { nodeClock } from './platform/node-clock.js'
import { nodeFileSystem } from './platform/node-file-system.js'
import { nodeRandom } from './platform/node-random.js'
import { createOtelTracer } from './platform/otel-tracer.js'
import type { Coordinator } from './ports/coordinator.js'
import type { EngineFactory, EngineKind } from './ports/engine.js'
import type { Logger } from './ports/logger.js'
import type { Transport } from './ports/transport.js'
import type { NodeParts } from './runtime/node.js'
import type { WitnessParts } from './runtime/witness.js'
import { version } from './version.js'

const engines: Readonly<Record<EngineKind, (options: NodeOptions) => EngineFactory>> = {
  level: () => levelEngine,
  rocksdb: ({ rocksdbCacheBytes, rocksdbCompression }) =>
    createRocksdbEngine({
      ...(rocksdbCacheBytes === undefined ? {} : { cacheBytes: rocksdbCacheBytes }),
      ...(rocksdbCompression === undefined ? {} : { compression: rocksdbCompression }),
    }),
  memory: () => memoryEngine,
}

function engineFor(options: NodeOptions): EngineFactory {
  const { engine, bootstrapMethod } = options
  const factory = engines[engine](options)
  return bootstrapMethod === 'auto' ? factory : { kind: factory.kind, open: factory.open }
}

interface PartsHooks {
  readonly logger: Logger
  readonly transport: Transport
  readonly advertise: () => string
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
}

/** Checked options as the parts of a node: the one place where adapters are chosen. */
export async function createNodeParts(options: NodeOptions, hooks: PartsHooks): Promise<NodeParts> {
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
    engines: engineFor(options),
    clock: nodeClock,
    random: nodeRandom,
    logger,
    tracer: createOtelTracer(version),
    ...(await coordinatorParts(options, hooks)),
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
        bootstrapSourceMaxBytesPerSecond: options.bootstrapSourceMaxRate,
      },
    ],
  }
}

/** Checked options as the parts of a witness. */
export function createWitnessParts(options: NodeOptions, hooks: PartsHooks): WitnessParts {
  const voter = createVoter(options, hooks.logger)
  if (voter === undefined || options.coordinator === undefined) {
    throw new UnderstudyError('CONFIG', 'a witness is the voter that its coordinator names')
  }
  return {
    files: nodeFileSystem,
    directory: options.data,
    version,
    cluster: options.cluster,
    node: options.node,
    clock: nodeClock,
    random: nodeRandom,
    coordinator: options.coordinator.url,
    voter,
    ...hooks,
  }
}

/** It is not started: who starts, registers with and closes it is the node. */
async function coordinatorParts(
  options: NodeOptions,
  hooks: PartsHooks,
): Promise<Pick<NodeParts, 'coordinator' | 'voter'>> {
  const { coordinator } = options
  switch (coordinator?.kind) {
    case 'etcd':
      return { coordinator: await createEtcd(options, coordinator, hooks.logger) }
    case 'builtin': {
      const voter = createVoter(options, hooks.logger)
      const client = createBuiltin(options, coordinator, voter, hooks)
      return { coordinator: client, ...(voter === undefined ? {} : { voter }) }
    }
    case 'static':
    case undefined: {
      const { members = [], primary } = coordinator ?? {}
      return { coordinator: createStaticCoordinator({ node: options.node, members, initialPrimary: primary }) }
    }
  }
}

/** gRPC is loaded only where it is used: it costs more than the start of a node. */
async function createEtcd(options: NodeOptions, coordinator: EtcdCoordinator, logger: Logger): Promise<Coordinator> {
  const { createEtcdCoordinator } = await import('./coordinator/etcd/etcd-coordinator.js')
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

function createBuiltin(
  options: NodeOptions,
  coordinator: BuiltinOptions,
  voter: Voter | undefined,
  hooks: PartsHooks,
): Coordinator {
  const { registrationMs } = timingsOf(options)
  const remote = () =>
    remoteChannel({
      voters: coordinator.voters,
      cluster: options.cluster,
      node: options.node,
      boot: nodeRandom.hex(8),
      transport: hooks.transport,
      clock: nodeClock,
      silenceMs: registrationMs / 3,
    })
  return new BuiltinCoordinator({
    description: coordinator.url,
    voters: coordinator.voters.map((one) => one.node),
    open: voter === undefined ? remote() : localChannel(voter),
    clock: nodeClock,
    random: nodeRandom,
    logger: hooks.logger,
    registrationMs,
  })
}

/** Undefined where another node hosts it. */
function createVoter(options: NodeOptions, logger: Logger): Voter | undefined {
  const { coordinator, node } = options
  const own = coordinator?.kind === 'builtin' ? coordinator.voters.find((one) => one.node === node) : undefined
  if (own === undefined) return undefined
  return new Voter({
    files: nodeFileSystem,
    journals: createJournalFactory(nodeFileSystem, {
      clock: nodeClock,
      random: nodeRandom,
      logger,
      segmentBytes: limits.voterSegmentBytes,
    }),
    clock: nodeClock,
    random: nodeRandom,
    logger,
    directory: options.data,
    cluster: options.cluster,
    voter: node,
    address: own.address,
    witness: options.witness,
  })
}
