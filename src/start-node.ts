import { Credentials } from './access/credentials.js'
import { isLoopback } from './config/address.js'
import { credentialSources, type NodeOptions } from './config/node-options.js'
import { formatAddress, parseAddress } from './core/address.js'
import { limits } from './core/limits.js'
import { UnderstudyError } from './errors.js'
import { createNodeParts, createWitnessParts } from './node-parts.js'
import { httpPing } from './platform/http-ping.js'
import { nodeClock } from './platform/node-clock.js'
import { createPinoLogger } from './platform/pino-logger.js'
import type { Logger } from './ports/logger.js'
import type { NodeHandle } from './runtime/handle.js'
import { Node } from './runtime/node.js'
import { Witness } from './runtime/witness.js'
import { Heartbeat } from './server/heartbeat.js'
import { createHttpServer, type HttpServer } from './server/http-server.js'
import { createHttpUpgradeTransport } from './transport/http-upgrade.js'

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

function warnOfPlainText({ listen }: NodeOptions, credentials: Credentials, logger: Logger): void {
  if (listen === undefined || isLoopback(listen.host) || credentials.tls !== undefined) return
  logger.warn({ address: formatAddress(listen) }, 'without tlsCert tokens and data are sent as plain text')
}

/**
 * Checked options in, a running node out. The port is bound before the data is opened, so that a wrong address costs
 * nothing and a long replay can be watched.
 */
export async function startNode(options: NodeOptions, hooks: StartHooks = {}): Promise<RunningNode> {
  const logger = hooks.logger ?? createPinoLogger({ level: options.logLevel, fields: { node: options.node } })
  const credentials = new Credentials(credentialSources(options), logger)
  const transport = createHttpUpgradeTransport({
    clock: nodeClock,
    logger,
    ...(options.secret === undefined ? {} : { secret: options.secret }),
    dial: () => credentials.dial(),
    admit: (request) => credentials.admitNode(request),
  })
  credentials.onChange(() => transport.readmit())
  let address: string | undefined
  const partsHooks = {
    logger,
    transport,
    advertise: () => options.advertise ?? address ?? '',
    createIfMissing: hooks.createIfMissing !== false,
    errorIfExists: hooks.errorIfExists === true,
  }
  const node = options.witness
    ? new Witness(createWitnessParts(options, partsHooks))
    : Node.create(await createNodeParts(options, partsHooks))
  let server: HttpServer | undefined
  const heartbeat =
    options.heartbeat === undefined
      ? undefined
      : new Heartbeat({ node, clock: nodeClock, logger, ping: httpPing, ...options.heartbeat })
  const doClose = async () => {
    try {
      await heartbeat?.close()
      if (server !== undefined) {
        // New requests go elsewhere; the next primary is there before those under way have to be done.
        server.drain()
        if (node instanceof Node) await node.prepareStop()
        await server.drained(limits.drainTimeoutMs)
      }
      await node.close()
    } finally {
      // Also when the node could not be closed cleanly: an open port would keep the process alive and look healthy.
      await server?.close()
      credentials.close()
    }
  }
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= doClose()
    return closing
  }
  const onAbort = () => {
    node.close().catch((error) => logger.error({ error: String(error) }, 'closing after an abort failed'))
  }
  try {
    if (options.listen !== undefined) {
      server = createHttpServer({
        node,
        listen: options.listen,
        credentials,
        logger,
        ...(options.advertise === undefined ? {} : { hostNames: [hostOf(options.advertise)] }),
        attach: (httpServer) => transport.attach(httpServer),
      })
      address = await server.listen()
      warnOfPlainText(options, credentials, logger)
    }
    hooks.signal?.throwIfAborted()
    hooks.signal?.addEventListener('abort', onAbort, { once: true })
    await node.start()
    heartbeat?.start()
    return { node, address, close }
  } catch (error) {
    await close()
    if (hooks.signal?.aborted === true && hooks.signal.reason instanceof UnderstudyError) throw hooks.signal.reason
    throw error
  } finally {
    hooks.signal?.removeEventListener('abort', onAbort)
  }
}
