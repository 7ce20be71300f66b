import type { NodeOptions } from './config/node-options.js'
import { createStaticCoordinator } from './coordinator/static.js'
import { parseAddress } from './core/address.js'
import { limits } from './core/limits.js'
import { levelEngine } from './engine/level.js'
import { memoryEngine } from './engine/memory.js'
import { UnderstudyError } from './errors.js'
import { createJournalFactory } from './journal/journal-factory.js'
import { nodeClock } from './platform/node-clock.js'
import { nodeFileSystem } from './platform/node-file-system.js'
import { nodeRandom } from './platform/node-random.js'
import { createPinoLogger } from './platform/pino-logger.js'
import type { EngineFactory, EngineKind } from './ports/engine.js'
import type { Logger } from './ports/logger.js'
import type { NodeHandle } from './runtime/handle.js'
import { Node } from './runtime/node.js'
import { createHttpServer, type HttpServer } from './server/http-server.js'
import { createHttpUpgradeTransport } from './transport/http-upgrade.js'
import { version } from './version.js'

export interface StartHooks {
  readonly logger?: Logger
  /** Default true. */
  readonly createIfMissing?: boolean
  /** Default false. */
  readonly errorIfExists?: boolean
  /** Gives up starting with what aborted it. */
  readonly signal?: AbortSignal
}

export interface RunningNode {
  readonly node: NodeHandle
  /** Where it listens, with the port that was bound; undefined without `listen`. */
  readonly address: string | undefined
  /** Idempotent. */
  close(): Promise<void>
}

function hostOf(address: string): string {
  return parseAddress(address)?.host ?? address
}

const engines: Readonly<Record<EngineKind, EngineFactory>> = { level: levelEngine, memory: memoryEngine }

/**
 * The one place where a node is put together from its parts: checked options in, a running node out. The port is
 * bound before the data is opened, so that a wrong address costs nothing and a long replay can be watched.
 */
export async function startNode(options: NodeOptions, hooks: StartHooks = {}): Promise<RunningNode> {
  const logger = hooks.logger ?? createPinoLogger({ level: options.logLevel, fields: { node: options.node } })
  const transport = createHttpUpgradeTransport({
    clock: nodeClock,
    logger,
    ...(options.secret === undefined ? {} : { secret: options.secret }),
  })
  let address: string | undefined
  const node = Node.create({
    files: nodeFileSystem,
    directory: options.data,
    version,
    cluster: options.cluster,
    node: options.node,
    createIfMissing: hooks.createIfMissing !== false,
    errorIfExists: hooks.errorIfExists === true,
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
    coordinator: createStaticCoordinator({
      node: options.node,
      members: options.coordinator?.members ?? [],
      initialPrimary: options.coordinator?.primary,
    }),
    transport,
    shards: [
      {
        name: 'main',
        advertise: () => options.advertise ?? address ?? '',
        settings: { durability: options.durability, inSyncMin: options.inSyncMin },
        checkpointBytes: options.checkpointBytes,
        checkpointIntervalMs: limits.checkpointIntervalMs,
        slotRetainBytes: options.slotRetainBytes,
        writeTimeoutMs: options.writeTimeoutMs,
        bootstrapMaxBytesPerSecond: options.bootstrapMaxRate,
      },
    ],
  })
  let server: HttpServer | undefined
  const close = async () => {
    await node.close()
    await server?.close()
  }
  const onAbort = () => {
    node.close().catch((error) => logger.error({ error: String(error) }, 'closing after an abort failed'))
  }
  try {
    if (options.listen !== undefined) {
      server = createHttpServer({
        node,
        listen: options.listen,
        secret: options.secret,
        logger,
        ...(options.advertise === undefined ? {} : { hostNames: [hostOf(options.advertise)] }),
        attach: (httpServer) => transport.attach(httpServer),
      })
      address = await server.listen()
    }
    hooks.signal?.throwIfAborted()
    hooks.signal?.addEventListener('abort', onAbort, { once: true })
    await node.start()
    return { node, address, close }
  } catch (error) {
    await close()
    if (hooks.signal?.aborted === true && hooks.signal.reason instanceof UnderstudyError) throw hooks.signal.reason
    throw error
  } finally {
    hooks.signal?.removeEventListener('abort', onAbort)
  }
}
