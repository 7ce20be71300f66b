import { existsSync, readFileSync } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { arch, cpus, freemem, loadavg, platform, release, totalmem, uptime } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Command } from 'commander'
import { checkConfig } from '../config/check-config.js'
import { describeOptions, type NodeOptions } from '../config/node-options.js'
import { optionTable, variableOf } from '../config/option-table.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { inspectJournal } from '../journal/inspect.js'
import { nodeFileSystem } from '../platform/node-file-system.js'
import { version } from '../version.js'
import { addClientFlags, type ClientFlags, nodeAddress } from './client-flags.js'
import type { ClusterPicture } from './cluster-picture.js'
import { diagnose } from './doctor.js'
import { formatBytes, plural } from './format.js'
import { findJournal } from './journal-location.js'
import { askBeginning, askRaw, type NodeAddress } from './node-client.js'
import { Redactor } from './redact.js'
import { printJson, printLine } from './terminal.js'

interface DumpFlags extends ClientFlags {
  readonly output: string
  readonly config?: string
  readonly data?: string
  readonly overwrite?: boolean
}

const formatVersion = 1
const filesMax = 2_000
/** The stream of events begins with what happened before, and goes on. */
const eventBounds = { forMs: 1_000, bytesMax: 256 * 1024 }

export function registerDump(program: Command): void {
  const command = program
    .command('dump')
    .description('write one file for a bug report: what all nodes say of themselves, without secrets and without data')
  addClientFlags(command)
    .requiredOption('-o, --output <FILE>', 'the file: JSON, compressed with gzip if its name ends with .gz')
    .option('--config <FILE>', "a node's configuration, added without its secrets")
    .option(
      '--data <DIR>',
      "a node's data directory on this machine: sizes of files and the journal's outline are added",
    )
    .option('--overwrite', 'replace the file if it exists')
    .option('--json', 'what was written as one JSON object')
    .addHelpText(
      'after',
      `
One JSON document: status and metrics of all nodes that answer, the checks of doctor,
changes of primary, versions and machine; with --config the options, with --data the
outline of the journal. Keys and values of users are not in it. Secrets that the command
knows (flags, environment, configuration) and whatever looks like one are removed; look
at it all the same before you give it away: gunzip -c FILE | less

It is also written when no node answers: then it says so.

Examples:
  understudy dump --url http://10.0.0.1:7400 -o report.json.gz
  understudy dump --config /etc/understudy.toml -o report.json.gz

Exit codes: 0 written; 1 it could not be written; 2 the file exists.`,
    )
    .action((flags: DumpFlags) => run(flags))
}

async function run(flags: DumpFlags): Promise<void> {
  const path = flags.output
  if (flags.overwrite !== true && existsSync(path)) {
    throw new UnderstudyError('CONFIG', `${path} exists already`, { hint: 'name another file, or add --overwrite' })
  }
  const config = readConfig(flags.config)
  const address = nodeAddress(flags)
  const report = {
    format: { name: 'understudy dump', version: formatVersion },
    takenAt: new Date().toISOString(),
    program: { version, node: process.version, platform: platform(), release: release(), arch: arch() },
    machine: machine(),
    ...(await ofCluster(flags, address)),
    ...(config === undefined ? {} : { config: config.shown }),
    environment: environment(),
    ...(flags.data === undefined ? {} : { data: await ofDirectory(flags.data) }),
  }
  const redactor = new Redactor([address.secret, ...secretsOf(config?.options), ...secretsOfEnvironment()])
  const text = `${JSON.stringify(redactor.value(report), undefined, 2)}\n`
  const bytes = path.endsWith('.gz') ? gzipSync(text, { level: 9 }) : Buffer.from(text)
  await write(path, bytes, flags.overwrite === true)
  const answered = report.nodes.filter((node) => !('error' in node)).length
  if (flags.json === true) {
    printJson({ file: path, bytes: bytes.length, nodes: report.nodes.length, answered })
    return
  }
  printLine(`${path}: ${formatBytes(bytes.length)}, ${answered} of ${plural(report.nodes.length, 'node')} answered`)
  printLine('secrets were removed; look at it before you give it away')
}

async function write(path: string, bytes: Buffer, overwrite: boolean): Promise<void> {
  try {
    // Not for others on this machine: it names addresses and directories.
    const file = await open(path, overwrite ? 'w' : 'wx', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw toUnderstudyError(error, `writing ${path}`)
  }
}

async function ofCluster(flags: DumpFlags, address: NodeAddress) {
  try {
    const { config: _, ...rest } = flags
    const { picture, checks, status } = await diagnose(rest)
    const nodes =
      picture === undefined
        ? [{ url: address.url, error: { message: checks[0]?.found ?? 'no answer' } }]
        : await ofNodes(picture, address)
    return { doctor: { status, checks }, nodes }
  } catch (error) {
    if (!(error instanceof UnderstudyError)) throw error
    return { nodes: [{ url: address.url, error: error.toJSON() }] }
  }
}

function ofNodes(picture: ClusterPicture, first: NodeAddress) {
  return Promise.all(
    picture.nodes.map(async ({ node, url, status, error }) => {
      if (status === undefined) return { node, url, error: error?.toJSON() ?? { message: 'no answer' } }
      const metrics = await askRaw({ ...first, url }, '/metrics').then(
        (answer) => (answer.status === 200 ? answer.text.split('\n') : `answered ${answer.status}`),
        (failed: unknown) => toUnderstudyError(failed, 'metrics').toJSON(),
      )
      const events = await askBeginning({ ...first, url }, '/v1/events', eventBounds).then(
        (answer) => (answer.status === 200 ? answer.text.split('\n') : `answered ${answer.status}`),
        (failed: unknown) => toUnderstudyError(failed, 'events').toJSON(),
      )
      return { node, url, status, events, metrics }
    }),
  )
}

function readConfig(file: string | undefined): { options: NodeOptions | undefined; shown: unknown } | undefined {
  if (file === undefined) return undefined
  const { options, problems } = checkConfig({ file, env: process.env })
  return { options, shown: options === undefined ? { file, problems } : { file, options: describeOptions(options) } }
}

/** Names tell what was set where; values that matter stand in `config`. */
function environment(): string[] {
  return Object.keys(process.env)
    .filter((name) => name.startsWith('UNDERSTUDY_') || name === 'NODE_OPTIONS')
    .sort()
}

function secretsOf(options: NodeOptions | undefined): string[] {
  if (options === undefined) return []
  const secrets: string[] = []
  for (const [key, value] of Object.entries(options)) {
    if (typeof value !== 'string') continue
    if (/^(secret|tokens?)$/.test(key)) secrets.push(value, ...value.split(/[\s,:]+/))
    if (/^(secret|token|access)File$/.test(key)) secrets.push(...wordsOf(value))
  }
  const { coordinator, heartbeat } = options
  // With most services, who knows its path may call it.
  if (heartbeat !== undefined) secrets.push(heartbeat.url.href, heartbeat.url.pathname)
  if (coordinator?.kind === 'etcd' && coordinator.password !== undefined) secrets.push(coordinator.password)
  return secrets
}

function secretsOfEnvironment(): string[] {
  const secrets: string[] = []
  for (const { key, flag } of optionTable) {
    const value = process.env[variableOf(key)]
    if (value === undefined) continue
    // What must not stand on a command line.
    if (!flag) secrets.push(value, ...value.split(/[\s,:]+/))
    if (/^(secret|token|access)File$/.test(key)) secrets.push(...wordsOf(value))
  }
  return secrets
}

/** Of a file with secrets: lines and quoted words, long enough to be none of TOML's. */
function wordsOf(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8').slice(0, limits.configFileBytesMax)
    const quoted = [...text.matchAll(/["']([^"'\n]{8,})["']/g)].map((match) => match[1]!)
    return [...quoted, ...text.split('\n').map((line) => line.trim())].filter((word) => word.length >= 8)
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return []
    throw error
  }
}

function machine() {
  const [cpu] = cpus()
  return {
    cpus: cpus().length,
    cpu: cpu?.model,
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    load: loadavg(),
    uptimeSeconds: Math.round(uptime()),
  }
}

/** Sizes and outlines: no content. */
async function ofDirectory(directory: string) {
  const files: Array<{ readonly path: string; readonly bytes: number }> = []
  try {
    const found = await readdir(directory, { recursive: true, withFileTypes: true })
    for (const entry of found) {
      if (!entry.isFile() || files.length >= filesMax) continue
      const path = join(entry.parentPath, entry.name)
      // A running node removes files while they are looked at.
      const { size } = await stat(path).catch(() => ({ size: -1 }))
      files.push({ path, bytes: size })
    }
  } catch (error) {
    throw toUnderstudyError(error, `reading ${directory}`)
  }
  return { directory, files, journal: await outline(directory) }
}

async function outline(directory: string) {
  try {
    const path = findJournal(directory)
    const counts: Record<string, number> = {}
    const damage: unknown[] = []
    let bytes = 0
    for await (const record of inspectJournal(nodeFileSystem, path, { from: 0 })) {
      counts[record.type] = (counts[record.type] ?? 0) + 1
      if (record.type === 'block') bytes += record.block.bytes.length
      if (record.type === 'damage' && damage.length < 20) damage.push(record)
    }
    return { path, records: counts, blockBytes: bytes, damage }
  } catch (error) {
    return toUnderstudyError(error, 'reading the journal').toJSON()
  }
}
