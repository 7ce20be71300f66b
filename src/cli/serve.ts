import type { Command } from 'commander'
import { describeOptions } from '../config/node-options.js'
import { UnderstudyError } from '../errors.js'
import { createPinoLogger } from '../platform/pino-logger.js'
import type { Logger } from '../ports/logger.js'
import { version } from '../version.js'
import { exitCodes, toCommandError } from './exit-code.js'
import { addNodeFlags, type Flags, servedOptions } from './node-flags.js'
import { printJson, printLine } from './terminal.js'

export function registerServe(program: Command): void {
  const command = program
    .command('serve')
    .description('run a node: HTTP, replication and metrics on one port, logs as JSON on standard error')
  addNodeFlags(command)
    .option('--json', 'announce on standard output in JSON, one object per line')
    .addHelpText(
      'after',
      `
Examples:
  understudy serve --data ./a --cluster shop --node a --listen 127.0.0.1:7400
  understudy serve --config understudy.toml --log-level debug
  UNDERSTUDY_SECRET=... understudy serve --data /var/lib/understudy \\
    --cluster shop --node a --listen 0.0.0.0:7400 \\
    --coordinator 'etcd://10.0.0.9:2379'

SIGTERM and SIGINT close the node cleanly (a primary hands over first), a second one ends it at once.

Exit codes: 0 closed; 1 failed; 2 the configuration is wrong; 4 the address or the directory is in use; 5 the data is
damaged.`,
    )
    .action((flags: Flags) => serve(flags))
}

async function serve(flags: Flags): Promise<void> {
  const json = flags.json === true
  const options = servedOptions(flags)
  const logger = createPinoLogger({ level: options.logLevel, fields: { node: options.node } })
  const ended = new AbortController()
  endOnSignals(ended, logger)
  endOnBugs(logger)
  logger.info({ version, pid: process.pid, options: describeOptions(options) }, 'starting')
  // Only here: no other command has a use for engine and server.
  const { startNode } = await import('../start-node.js')
  const running = await startNode(options, { logger, signal: ended.signal }).catch((error) => {
    // Ended by its operator while it was starting: that is no failure.
    if (ended.signal.aborted) return undefined
    throw error
  })
  const { node, cluster, data } = options
  if (running !== undefined) {
    const { address } = running
    if (json) {
      printJson({
        event: 'listening',
        node,
        cluster,
        address,
        url: `${options.tls === undefined ? 'http' : 'https'}://${address}`,
        data,
        pid: process.pid,
        version,
      })
    } else printLine(`node ${node} of cluster ${cluster} listens on ${address} (data ${data})`)
    await aborted(ended.signal)
    await running.close()
  }
  logger.info({}, 'closed')
  if (json) printJson({ event: 'closed', node, cluster })
  else printLine(`node ${node} of cluster ${cluster} is closed`)
}

function endOnSignals(ended: AbortController, logger: Logger): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (ended.signal.aborted) {
        logger.warn({ signal }, 'ended at once by a second signal; the next start recovers')
        process.exit(exitCodes.failed)
      }
      logger.info({ signal }, 'closing')
      ended.abort(new UnderstudyError('ABORTED', `ended by ${signal}`))
    })
  }
}

/** After a bug nothing in this process can be trusted: the node ends, and whoever supervises it starts it again. */
function endOnBugs(logger: Logger): void {
  const end = (kind: string) => (thrown: unknown) => {
    const { code, message } = toCommandError(thrown)
    logger.error({ code, error: message }, `${kind}: the node ends`)
    process.exit(exitCodes.failed)
  }
  process.on('uncaughtException', end('uncaught exception'))
  process.on('unhandledRejection', end('unhandled rejection'))
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
