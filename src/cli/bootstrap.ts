import { type Command, Option } from 'commander'
import { Credentials } from '../access/credentials.js'
import { credentialSources } from '../config/node-options.js'
import { limits } from '../core/limits.js'
import { formatPosition } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import { nodeClock } from '../platform/node-clock.js'
import { createPinoLogger } from '../platform/pino-logger.js'
import type { DirectoryBootstrapResult } from '../runtime/bootstrap-directory.js'
import type { BootstrapStatus } from '../runtime/handle.js'
import { createProgressView } from './bootstrap-progress-view.js'
import { planBootstrap } from './bootstrap-source.js'
import { parseDuration, parseUrl } from './client-flags.js'
import { formatBytes, formatCount } from './format.js'
import { addNodeFlags, type Flags } from './node-flags.js'
import { createPaint, printJson, printLine } from './terminal.js'

interface BootstrapFlags {
  readonly from: string
  readonly replace?: boolean
  readonly timeout: number
  readonly json?: boolean
}

export function registerBootstrap(program: Command): void {
  const command = program
    .command('bootstrap')
    .description("build a standby's data directory from a running node, then end")
    .addOption(
      new Option('--from <URL>', 'a node that has the data, as URL or HOST:PORT')
        .argParser(parseUrl)
        .makeOptionMandatory(),
    )
    .option('--replace', 'give up what the directory holds; it stays until the new data is installed')
    .addOption(
      new Option(
        '--max-rate <SIZE>',
        'bytes per second at most, like 20MiB; the same as --bootstrap-max-rate',
      ).conflicts('bootstrapMaxRate'),
    )
    .option('--timeout <DURATION>', 'give up when nothing arrives for so long', parseDuration, limits.bootstrapStallMs)
    .option('--json', 'progress and result on standard output, one JSON object per line')
  addNodeFlags(command)
    .addHelpText(
      'after',
      `
Needs --data and --node; cluster, other nodes and settings are taken from the source
where they are not given. Other members serve as source when that one fails. When it
is interrupted, the same command resumes; a directory that holds this history already
is left as it is. Afterwards "understudy serve" follows from there.

Examples:
  understudy bootstrap --data ./c --node c --from http://10.0.0.1:7400
  understudy bootstrap --data ./c --node c --from 10.0.0.1:7400 --max-rate 20MiB
  understudy bootstrap --config understudy.toml --from 10.0.0.2:7400 --replace

Exit codes: 0 built, or there already; 1 ended; 2 the configuration is wrong, or the directory holds something else;
4 no source answers.`,
    )
    .action((flags: BootstrapFlags & Flags) => run(flags))
}

async function run(flags: BootstrapFlags & Flags): Promise<void> {
  const json = flags.json === true
  const { options, source, members } = await planBootstrap(withMaxRate(flags), flags.from)
  if (!members.includes(options.node)) {
    const text = `${source.node} knows no member ${options.node} (its cluster is ${members.join(', ')})`
    process.stderr.write(`${createPaint(process.stderr)('yellow', 'warning')}: ${text}\n`)
  }
  // Without a wish the progress says it all: what fails is in it, or ends the command.
  const level = flags.logLevel === undefined ? 'silent' : options.logLevel
  const logger = createPinoLogger({ level, fields: { node: options.node } })
  // Only here: no other command has a use for engine and transport.
  const [{ createNodeParts }, { createHttpUpgradeTransport }, { bootstrapDirectory }] = await Promise.all([
    import('../node-parts.js'),
    import('../transport/http-upgrade.js'),
    import('../runtime/bootstrap-directory.js'),
  ])
  const credentials = new Credentials(credentialSources(options), logger)
  const transport = createHttpUpgradeTransport({
    clock: nodeClock,
    logger,
    ...(options.secret === undefined ? {} : { secret: options.secret }),
    dial: () => credentials.dial(),
  })
  const parts = await createNodeParts(options, {
    logger,
    transport,
    advertise: () => options.advertise ?? '',
    createIfMissing: true,
    errorIfExists: false,
  })
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () =>
      ended.abort(
        new UnderstudyError('ABORTED', `ended by ${signal}`, { hint: 'the same command resumes where it stopped' }),
      ),
    )
  }
  const stall = new StallWatch(flags.timeout, ended)
  const view = createProgressView(json)
  let result: DirectoryBootstrapResult
  try {
    result = await bootstrapDirectory(parts, {
      source,
      replace: flags.replace === true,
      signal: ended.signal,
      onProgress: (status) => {
        stall.observe(status)
        view.update(status)
      },
    })
  } catch (error) {
    if (ended.signal.reason instanceof UnderstudyError) throw ended.signal.reason
    throw error
  } finally {
    stall.end()
    view.end()
  }
  report(result, options.data, json)
}

function withMaxRate(flags: Flags): Flags {
  return flags.maxRate === undefined ? flags : { ...flags, bootstrapMaxRate: flags.maxRate }
}

function report(result: DirectoryBootstrapResult, data: string, json: boolean): void {
  const { type, historyId, status, replaced } = result
  const position = formatPosition(result.position)
  if (json) {
    const { bytesDone: bytes, entriesDone: entries, restarts, resumedFrom } = status ?? {}
    printJson({
      event: 'done',
      result: type,
      data,
      historyId,
      position,
      replaced,
      bytes,
      entries,
      restarts,
      resumedFrom,
    })
    return
  }
  if (status === undefined) {
    printLine(
      `${data} holds history ${historyId} up to ${position} already; nothing was changed, serve continues there`,
    )
    return
  }
  if (status.resumedFrom !== undefined) printLine(`resumed: ${status.resumedFrom}`)
  const entries = status.method === 'checkpoint' ? '' : `${formatCount(status.entriesDone)} entries, `
  const size = `${entries}${formatBytes(status.bytesDone)}`
  printLine(`${data} holds history ${historyId} up to ${position} (${size}); start it with understudy serve`)
}

/** Ends what gets nothing any more, with the last reason it gave. */
class StallWatch {
  private readonly timeoutMs: number
  private readonly ended: AbortController
  private timer: NodeJS.Timeout
  private reached = ''
  private lastError: string | undefined

  constructor(timeoutMs: number, ended: AbortController) {
    this.timeoutMs = timeoutMs
    this.ended = ended
    this.timer = this.start()
  }

  observe(status: BootstrapStatus): void {
    this.lastError = status.lastError
    // An attempt that begins anew is no progress; bytes and the phases behind them are.
    const { phase } = status
    const isBeginning = phase === 'waiting' || phase === 'snapshot' || phase === 'transferring'
    const reached = `${status.bytesDone} ${isBeginning ? '' : phase}`
    if (reached === this.reached || (isBeginning && status.bytesPerSecond === 0)) return
    this.reached = reached
    clearTimeout(this.timer)
    this.timer = this.start()
  }

  end(): void {
    clearTimeout(this.timer)
  }

  private start(): NodeJS.Timeout {
    return setTimeout(() => {
      const why = this.lastError === undefined ? '' : `: ${this.lastError}`
      this.ended.abort(
        new UnderstudyError('TIMEOUT', `nothing arrived for ${this.timeoutMs / 1000} s${why}`, {
          hint: 'the same command resumes where it stopped',
        }),
      )
    }, this.timeoutMs)
  }
}
