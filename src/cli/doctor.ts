import type { Command } from 'commander'
import { tokenToShow } from '../access/credential-files.js'
import { checkConfig } from '../config/check-config.js'
import { credentialSources, type NodeOptions } from '../config/node-options.js'
import { ConfigError } from '../config/problem.js'
import { formatAddress } from '../core/address.js'
import { isFailure, UnderstudyError } from '../errors.js'
import { addClientFlags, type ClientFlags, nodeAddress } from './client-flags.js'
import { type ClusterPicture, takePicture } from './cluster-picture.js'
import { type Check, type CheckStatus, judge, slotRetainBytesDefault, worstOf } from './doctor-checks.js'
import { findCertificates, measureEndpoints, measureLocal, measureNodes } from './doctor-facts.js'
import { exitCodes } from './exit-code.js'
import { formatCount, plural } from './format.js'
import type { NodeAddress } from './node-client.js'
import { createPaint, type Paint, printJson, printLine } from './terminal.js'
import { wrap } from './wrap.js'

export interface DoctorFlags extends ClientFlags {
  readonly config?: string
  readonly data?: string
}

export interface Diagnosis {
  readonly status: CheckStatus
  readonly cluster: string | undefined
  readonly checks: readonly Check[]
}

export function registerDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check whether the cluster could lose a node now, and what would go wrong; says what to do next')
  addClientFlags(command)
    .option('--config <FILE>', "a node's configuration: its address, data directory and certificates")
    .option('--data <DIR>', "a node's data directory on this machine: measures its disk with a small file")
    .option('--json', 'all checks as one JSON object')
    .addHelpText(
      'after',
      `
Checks: can a standby take over now; may a node be lost without a stop of writes; do
all nodes answer, with one version and one set of settings; is the coordinator reached;
how much journal is kept for standbys; the certificates' ends; limits of open files.
With --data or --config, beside a node: free space and the speed of its disk's sync.
Clocks are shown for people only: the protocol does not need them to agree.

Each check is ok, warn, fail or unknown, and says what to do next. It changes nothing.

Examples:
  understudy doctor --url http://10.0.0.1:7400
  understudy doctor --url http://10.0.0.1:7400 --data /var/lib/understudy
  understudy doctor --json | jq '.checks[] | select(.status != "ok")'

Exit codes: 0 nothing failed (warnings do not count); 1 a check failed; 2 the command line or the configuration is wrong;
4 the node does not answer, and nothing else was there to look at.`,
    )
    .action(async (flags: DoctorFlags) => {
      const { picture: _, ...diagnosis } = await diagnose(flags)
      if (flags.json === true) printJson(diagnosis)
      else for (const line of render(diagnosis)) printLine(line)
      if (diagnosis.status === 'fail') process.exitCode = exitCodes.failed
    })
}

export async function diagnose(
  flags: DoctorFlags,
): Promise<Diagnosis & { readonly picture: ClusterPicture | undefined }> {
  const options = flags.config === undefined ? undefined : configOf(flags.config)
  const address = addressOf(flags, options)
  const directory = flags.data ?? options?.data
  // First what lies beside it: a directory that is not there is a mistake of the command.
  const local = directory === undefined ? undefined : await measureLocal(directory)
  const files = certificateFiles(options)
  const picture = await takePicture(address).catch((error: unknown) => {
    // What lies beside the node can be looked at all the same.
    if (isFailure(error, 'UNAVAILABLE', 'TIMEOUT') && (local !== undefined || files.length > 0)) return error
    throw error
  })
  if (picture instanceof UnderstudyError) {
    const certificates = await findCertificates(undefined, files)
    const checks = judge({
      ...{ picture: undefined, nodes: [], endpoints: [], certificates, local, nowMs: Date.now() },
      slotRetainBytes: options?.slotRetainBytes ?? slotRetainBytesDefault,
    })
    const away: Check = {
      id: 'nodes',
      status: 'fail',
      found: picture.message,
      next: 'understudy serve: start the node',
    }
    return { status: 'fail', cluster: options?.cluster, checks: [away, ...checks], picture: undefined }
  }
  const coordinator = picture.nodes.find(({ status }) => status !== undefined)?.status?.coordinator
  const [nodes, endpoints, certificates] = await Promise.all([
    measureNodes(picture, address),
    measureEndpoints(coordinator),
    findCertificates(picture, files),
  ])
  const checks = judge({
    picture,
    nodes,
    certificates,
    endpoints,
    local,
    slotRetainBytes: options?.slotRetainBytes ?? slotRetainBytesDefault,
    nowMs: Date.now(),
  })
  return { status: worstOf(checks), cluster: picture.cluster, checks, picture }
}

function configOf(file: string): NodeOptions {
  const { options, problems } = checkConfig({ file, env: process.env })
  if (options === undefined) throw new ConfigError(problems)
  return options
}

function addressOf(flags: DoctorFlags, options: NodeOptions | undefined): NodeAddress {
  if (flags.url !== undefined || options === undefined) return nodeAddress(flags)
  const { listen, tls } = options
  if (listen === undefined) {
    throw new UnderstudyError('CONFIG', `${flags.config}: this node listens nowhere, and cannot be asked`)
  }
  const files =
    tls === undefined ? {} : { cert: tls.cert, key: tls.key, ...(tls.ca === undefined ? {} : { ca: tls.ca }) }
  const scheme = tls === undefined ? 'http' : 'https'
  // A certificate names the node as others reach it.
  const reached = tls === undefined ? formatAddress(listen) : (options.advertise ?? formatAddress(listen))
  const address = nodeAddress({ ...files, ...flags, url: `${scheme}://${reached}` })
  // The node itself is asked as the node would ask another one, unless somebody says who asks.
  return { ...address, secret: address.secret ?? options.secret ?? tokenToShow(credentialSources(options)) }
}

function certificateFiles(options: NodeOptions | undefined): readonly string[] {
  const { cert, ca } = options?.tls ?? {}
  return [cert, ca].filter((file) => file !== undefined)
}

const marks: Readonly<Record<CheckStatus, string>> = { ok: 'ok', warn: 'WARN', fail: 'FAIL', unknown: '?' }

/** What must be done first stands first. */
const order: readonly CheckStatus[] = ['fail', 'warn', 'unknown', 'ok']

function render({ checks, cluster }: Diagnosis): string[] {
  const paint = createPaint(process.stdout)
  const width = process.stdout.columns ?? Number.POSITIVE_INFINITY
  const lines: string[] = []
  const idWidth = Math.max(...checks.map(({ id }) => id.length))
  const indent = 4 + 2 + idWidth + 2
  for (const check of [...checks].sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status))) {
    const head = `${painted(check.status, paint)}  ${check.id.padEnd(idWidth)}  `
    const [first = '', ...more] = check.found.split('\n')
    lines.push(...wrap(`${head}${first}`, width, indent))
    for (const line of more) lines.push(...wrap(`${' '.repeat(indent)}${line}`, width, indent))
    if (check.next !== undefined && check.status !== 'ok') {
      lines.push(...wrap(`${' '.repeat(indent)}-> ${check.next}`, width, indent + 3))
    }
  }
  const count = (status: CheckStatus): number => checks.filter((one) => one.status === status).length
  const parts = [`${count('fail')} failed`, plural(count('warn'), 'warning'), `${count('ok')} ok`]
  if (count('unknown') > 0) parts.push(`${formatCount(count('unknown'))} unknown`)
  return [...lines, '', `${cluster === undefined ? '' : `cluster ${cluster}: `}${parts.join(', ')}`]
}

function painted(status: CheckStatus, paint: Paint): string {
  const mark = marks[status].padEnd(4)
  switch (status) {
    case 'ok':
      return paint('green', mark)
    case 'warn':
      return paint('yellow', mark)
    case 'fail':
      return paint('red', mark)
    case 'unknown':
      return paint('dim', mark)
  }
}
