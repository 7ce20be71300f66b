import { type Address, formatAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { isLoopback, isUnspecified, readAddress } from './address.js'
import { checkAccess } from './check-access.js'
import { checkHeartbeat } from './check-heartbeat.js'
import { checkWitness } from './check-witness.js'
import { closest } from './closest.js'
import { type CoordinatorOptions, parseCoordinator } from './coordinator.js'
import type { NodeOptions } from './node-options.js'
import { type OptionKey, optionTable } from './option-table.js'
import { ConfigError, type ConfigProblem } from './problem.js'
import { fields, type OptionsInput, optionsSchema, type ParsedOptions } from './schema.js'
import { readSecretFile } from './secret-file.js'

export interface CheckedOptions {
  readonly problems: readonly ConfigProblem[]
  /** Only when there are no problems. */
  readonly options: NodeOptions | undefined
}

/** Checks everything and reports all problems at once; values that are right by themselves are checked together. */
export function checkOptions(input: Readonly<Record<string, unknown>>): CheckedOptions {
  const problems: ConfigProblem[] = []
  const report = (path: OptionKey, message: string, suggestion?: string): void => {
    problems.push({ path, message, ...(suggestion === undefined ? {} : { suggestion }) })
  }
  const given = parseFields(input, problems)
  if (input.data === undefined) report('data', 'is missing', 'name the directory of this node')

  const listen = given.listen === undefined ? undefined : checkAddress('listen', given.listen, report)
  const advertised = given.advertise === undefined ? undefined : checkAddress('advertise', given.advertise, report)
  if (advertised !== undefined) checkAdvertise(advertised, report)
  const coordinator = given.coordinator === undefined ? undefined : checkCoordinator(given.coordinator, report)
  // Whether an option was given counts, not whether it is right: one mistake is reported once.
  const reachable = input.listen !== undefined || input.coordinator !== undefined
  if (reachable) {
    for (const key of ['cluster', 'node'] as const) {
      if (input[key] === undefined) report(key, 'is missing', `a node with listen or coordinator needs a ${key} name`)
    }
  }
  if (input.advertise !== undefined && input.listen === undefined) {
    report('advertise', 'has no meaning without listen', 'add listen or leave advertise out')
  }
  const secret = checkSecret(given, input, report)
  const access = checkAccess(given, input, report)
  checkExposure({ listen, given, input, asksForCredentials: access.asksForCredentials }, report)
  const advertise = checkMembers({ coordinator, node: given.node, listen, advertised, input }, report)
  const witness = given.witness ?? false
  if (witness) checkWitness({ coordinator, node: given.node, input }, report)
  const { durability, inSyncMin } = checkDurability(given, input, coordinator, report)
  const heartbeat = checkHeartbeat(given, input, report)
  const segmentBytes = given.segmentBytes ?? limits.segmentBytes
  const slotRetainBytes = given.slotRetainBytes ?? limits.slotRetainBytesMax
  if (slotRetainBytes < segmentBytes) {
    report('slotRetainBytes', `${slotRetainBytes} is less than one segment (segmentBytes ${segmentBytes})`)
  }
  const engine = given.engine ?? 'level'
  for (const key of ['rocksdbCacheBytes', 'rocksdbCompression'] as const) {
    if (given[key] !== undefined && engine !== 'rocksdb' && !witness)
      report(key, `has no meaning with engine ${engine}`)
  }
  const failoverMs = given.failoverMs ?? limits.failoverMs
  const inSyncTimeoutMs = given.inSyncTimeoutMs ?? failoverMs
  if (problems.length > 0) return { problems, options: undefined }
  return {
    problems,
    options: {
      data: given.data!,
      cluster: given.cluster ?? 'understudy',
      node: given.node ?? 'a',
      listen,
      advertise,
      coordinator,
      witness,
      durability,
      inSyncMin,
      failoverMs,
      inSyncTimeoutMs,
      engine,
      secret,
      ...access.sources,
      insecure: given.insecure ?? false,
      heartbeat,
      logLevel: given.logLevel ?? 'info',
      writeTimeoutMs: given.writeTimeoutMs ?? limits.writeTimeoutMs,
      segmentBytes,
      slotRetainBytes,
      checkpointBytes: given.checkpointBytes ?? limits.checkpointBytes,
      rocksdbCacheBytes: given.rocksdbCacheBytes,
      rocksdbCompression: given.rocksdbCompression,
      bootstrapMaxRate: given.bootstrapMaxRate,
      bootstrapSourceMaxRate: given.bootstrapSourceMaxRate,
      bootstrapMethod: given.bootstrapMethod ?? 'auto',
    },
  }
}

/** For the library: the same rules, all problems in one `CONFIG` error. */
export function resolveOptions(input: OptionsInput): NodeOptions {
  const { problems, options } = checkOptions(input)
  if (options === undefined) throw new ConfigError(problems)
  return options
}

/** What they hold is in no message. */
const secretKeys: ReadonlySet<string> = new Set(['secret', 'token', 'tokens', 'heartbeatUrl'])

type Report = (path: OptionKey, message: string, suggestion?: string) => void

function parseFields(input: Readonly<Record<string, unknown>>, problems: ConfigProblem[]): ParsedOptions {
  const parsed = optionsSchema.safeParse(input)
  if (parsed.success) return parsed.data
  const wrong = new Set<string>()
  for (const issue of parsed.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        wrong.add(key)
        const meant = closest(
          key,
          optionTable.map((entry) => entry.key),
        )
        problems.push({
          path: key,
          message: 'is no option of this release',
          ...(meant === undefined ? {} : { suggestion: `did you mean "${meant}"?` }),
        })
      }
      continue
    }
    const path = String(issue.path[0] ?? '')
    // The first issue of an option says it; the others follow from it.
    if (wrong.has(path)) continue
    wrong.add(path)
    problems.push({ path, message: `${issue.message}${secretKeys.has(path) ? '' : `, not ${shown(input[path])}`}` })
  }
  const right = Object.entries(input).filter(([key, value]) => !wrong.has(key) && value !== undefined)
  return Object.fromEntries(right.map(([key, value]) => [key, fields[key as OptionKey].parse(value)])) as ParsedOptions
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (value === null || typeof value !== 'object') return String(value)
  return Array.isArray(value) ? 'an array' : 'a table'
}

function checkAddress(key: 'listen' | 'advertise', text: string, report: Report): Address | undefined {
  const parsed = readAddress(text)
  if ('address' in parsed) return parsed.address
  report(key, `${shown(text)} ${parsed.reason}`, parsed.suggestion)
  return undefined
}

function checkAdvertise(address: Address, report: Report): void {
  if (isUnspecified(address.host)) {
    report('advertise', `${formatAddress(address)} is no address that others can connect to`)
  } else if (address.port === 0) {
    report('advertise', 'port 0 is no port that others can connect to')
  }
}

function checkCoordinator(url: string, report: Report): CoordinatorOptions | undefined {
  const { coordinator, problems } = parseCoordinator(url)
  for (const problem of problems) report('coordinator', problem.message, problem.suggestion)
  return coordinator
}

function checkSecret(
  given: ParsedOptions,
  input: Readonly<Record<string, unknown>>,
  report: Report,
): string | undefined {
  if (input.secret !== undefined && input.secretFile !== undefined) {
    report('secretFile', 'stands beside secret: only one of them can be meant')
    return undefined
  }
  if (given.secretFile === undefined) return given.secret
  const read = readSecretFile(given.secretFile)
  if ('secret' in read) {
    const parsed = fields.secret.safeParse(read.secret)
    if (parsed.success) return parsed.data
    report('secretFile', `the secret in ${given.secretFile} ${parsed.error.issues[0]!.message}`)
  } else report('secretFile', read.reason)
  return undefined
}

function checkExposure(
  question: {
    readonly listen: Address | undefined
    readonly given: ParsedOptions
    readonly input: Readonly<Record<string, unknown>>
    readonly asksForCredentials: boolean
  },
  report: Report,
): void {
  const { listen, given, input } = question
  const hasSecret = input.secret !== undefined || input.secretFile !== undefined
  if (given.insecure === true && (hasSecret || question.asksForCredentials)) {
    const what = hasSecret ? 'the secret that is configured' : 'the tokens or client certificates that are asked for'
    report('insecure', `contradicts ${what}`, 'leave one of them out')
  }
  const isGuarded = hasSecret || question.asksForCredentials
  if (listen === undefined || isLoopback(listen.host) || isGuarded || input.insecure === true) return
  report(
    'listen',
    `${formatAddress(listen)} can be reached from other machines, and no secret is configured`,
    'set secretFile, accessFile, or UNDERSTUDY_SECRET; insecure = true if everybody who can connect may read and write',
  )
}

interface Membership {
  readonly coordinator: CoordinatorOptions | undefined
  readonly node: string | undefined
  readonly listen: Address | undefined
  readonly advertised: Address | undefined
  readonly input: Readonly<Record<string, unknown>>
}

/** Who the members are and where this node is reached; returns the address to advertise. */
function checkMembers(membership: Membership, report: Report): string | undefined {
  const { coordinator, node, listen, advertised, input } = membership
  const explicit = advertised === undefined ? undefined : formatAddress(advertised)
  const listed = coordinator?.kind === 'static' ? coordinator : undefined
  const places = coordinator?.kind === 'builtin' ? coordinator.voters : listed?.members
  const own = places?.find((member) => member.node === node)
  if (coordinator !== undefined && coordinator.kind !== 'static' && input.listen === undefined) {
    report('listen', 'is missing', 'the other nodes of the cluster connect to this one')
  }
  if (listed !== undefined) {
    const names = new Set(listed.members.map((member) => member.node))
    if (node !== undefined) names.add(node)
    const { primary } = listed
    if (primary !== undefined && node !== undefined && !names.has(primary)) {
      const meant = closest(primary, names)
      report(
        'coordinator',
        `primary "${primary}" is none of the nodes ${[...names].join(', ')}`,
        meant === undefined ? undefined : `did you mean "${meant}"?`,
      )
    }
    if (names.size > limits.membersMax) report('coordinator', `${names.size} nodes; at most ${limits.membersMax}`)
    if (input.listen === undefined && names.size > 1) {
      report('listen', 'is missing', 'the other nodes of the cluster connect to this one')
    }
  }
  if (explicit !== undefined) {
    if (own !== undefined && own.address !== explicit) {
      report('coordinator', `has node ${own.node} at ${own.address}, advertise says ${explicit}`)
    }
    return explicit
  }
  if (own !== undefined) {
    if (listen !== undefined) checkOwnAddress(own.address, own.node, listen, report)
    return own.address
  }
  if (listen === undefined || input.advertise !== undefined) return undefined
  // A coordinator that nodes register with is told the port that was bound.
  const unusable = isUnspecified(listen.host) || (listed !== undefined && listen.port === 0)
  if (coordinator !== undefined && unusable) {
    report(
      'advertise',
      `is missing: listen ${formatAddress(listen)} does not say where other nodes reach this one`,
      listed === undefined ? 'add advertise' : 'add advertise, or this node to the coordinator',
    )
  }
  return isUnspecified(listen.host) || listen.port === 0 ? undefined : formatAddress(listen)
}

/** Without `advertise` the coordinator's address must be one at which `listen` can be reached. */
function checkOwnAddress(own: string, node: string, listen: Address, report: Report): void {
  const parsed = readAddress(own)
  if (!('address' in parsed)) return
  const samePort = parsed.address.port === listen.port
  const bothAddresses = /^[\d.:a-f]+$/i.test(listen.host) && /^[\d.:a-f]+$/i.test(parsed.address.host)
  const sameHost = !bothAddresses || isUnspecified(listen.host) || listen.host === parsed.address.host
  if (samePort && sameHost) return
  report(
    'coordinator',
    `has node ${node} at ${own}, but it listens on ${formatAddress(listen)}`,
    `correct one of them, or set advertise = "${own}" if that address is forwarded here`,
  )
}

function checkDurability(
  given: ParsedOptions,
  input: Readonly<Record<string, unknown>>,
  coordinator: CoordinatorOptions | undefined,
  report: Report,
): { readonly durability: 'local' | 'standby'; readonly inSyncMin: number } {
  // Where nodes register by themselves, their number is not known here.
  const listed = coordinator?.kind === 'static' ? coordinator : undefined
  const own = listed?.members.some((member) => member.node === given.node) ?? false
  const nodes = (listed?.members.length ?? 0) + (own || given.node === undefined ? 0 : 1)
  const alone = input.coordinator === undefined || (listed !== undefined && nodes <= 1)
  const durability = given.durability ?? (alone ? 'local' : 'standby')
  const inSyncMin = given.inSyncMin ?? (durability === 'local' ? 1 : 2)
  if (durability === 'local') {
    if (inSyncMin > 1 && input.durability === undefined) {
      report('inSyncMin', `${inSyncMin} nodes cannot hold a write: this node has no others`, 'add a coordinator')
    } else if (inSyncMin > 1) {
      report('inSyncMin', `${inSyncMin} contradicts durability "local", which waits for the own disk alone`)
    }
  } else if (alone) {
    report('durability', '"standby" needs other nodes, and none is configured', 'add a coordinator')
  } else if (inSyncMin < 2 && (coordinator === undefined || listed !== undefined)) {
    report('inSyncMin', 'durability "standby" needs at least 2', 'durability = "local" if one disk is enough')
  } else if (listed !== undefined && inSyncMin > nodes) {
    report('inSyncMin', `${inSyncMin} is more than the ${nodes} nodes of the cluster: no write could be acknowledged`)
  }
  return { durability, inSyncMin }
}
