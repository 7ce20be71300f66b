import { formatAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { readAddress } from './address.js'
import { closest } from './closest.js'
import { type BuiltinCoordinator, parseBuiltinCoordinator } from './coordinator-builtin.js'
import { type EtcdCoordinator, parseEtcdCoordinator } from './coordinator-etcd.js'
import { namePattern } from './name.js'

export interface StaticMember {
  readonly node: string
  readonly address: string
}

/** `static://a=10.0.0.1:7400,b=10.0.0.2:7400?primary=a`: who the nodes are; who is primary is changed by hand. */
export interface StaticCoordinator {
  readonly kind: 'static'
  /** As it stands in the URL; may include the own node. */
  readonly members: readonly StaticMember[]
  /** The node that begins as primary when all directories are empty. */
  readonly primary: string | undefined
  readonly url: string
}

/** Who takes part and who keeps the records, as configured. */
export type CoordinatorOptions = StaticCoordinator | EtcdCoordinator | BuiltinCoordinator

export interface CoordinatorProblem {
  readonly message: string
  readonly suggestion?: string
}

export type ParsedCoordinator = {
  readonly coordinator: CoordinatorOptions | undefined
  readonly problems: readonly CoordinatorProblem[]
}

const example = 'static://a=10.0.0.1:7400,b=10.0.0.2:7400?primary=a'

/** All problems of the URL at once; `coordinator` only when there are none. */
export function parseCoordinator(url: string): ParsedCoordinator {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):(\/\/)?/.exec(url)
  if (scheme === null) return refused('names no scheme', `for example ${example}`)
  const name = scheme[1]!.toLowerCase()
  const parse = parsers[name]
  if (parse === undefined) {
    const known = Object.keys(parsers).join(', ')
    return refused(`unknown coordinator "${scheme[1]}:"; this release has ${known}`, `for example ${example}`)
  }
  if (scheme[2] === undefined) return refused(`"${name}:" must be followed by "//"`, `for example ${example}`)
  return parse(url.slice(scheme[0].length))
}

/** By scheme; each takes what follows `scheme://`. */
const parsers: Readonly<Record<string, (rest: string) => ParsedCoordinator>> = {
  static: parseStaticCoordinator,
  etcd: parseEtcdCoordinator,
  builtin: parseBuiltinCoordinator,
}

function parseStaticCoordinator(rest: string): ParsedCoordinator {
  const problems: CoordinatorProblem[] = []
  const mark = rest.indexOf('?')
  const members = parseMembers(mark === -1 ? rest : rest.slice(0, mark), problems)
  const primary = mark === -1 ? undefined : parsePrimary(rest.slice(mark + 1), problems)
  if (problems.length > 0) return { coordinator: undefined, problems }
  const text = members.map((member) => `${member.node}=${member.address}`).join(',')
  const canonical = `static://${text}${primary === undefined ? '' : `?primary=${primary}`}`
  return { coordinator: { kind: 'static', members, primary, url: canonical }, problems }
}

function refused(message: string, suggestion: string): ParsedCoordinator {
  return { coordinator: undefined, problems: [{ message, suggestion }] }
}

function parseMembers(text: string, problems: CoordinatorProblem[]): StaticMember[] {
  const members: StaticMember[] = []
  if (text === '') {
    problems.push({ message: 'names no members', suggestion: `for example ${example}` })
    return members
  }
  const parts = text.split(',')
  if (parts.length > limits.membersMax) {
    problems.push({ message: `names ${parts.length} members; at most ${limits.membersMax}` })
    return members
  }
  for (const part of parts) {
    const equals = part.indexOf('=')
    if (equals === -1) {
      problems.push({ message: `member "${part}" is not node=host:port`, suggestion: `for example ${example}` })
      continue
    }
    const node = part.slice(0, equals)
    const addressText = part.slice(equals + 1)
    if (!namePattern.test(node)) {
      problems.push({ message: `member "${node}" is no valid name of a node` })
      continue
    }
    const parsed = readAddress(addressText)
    if ('reason' in parsed) {
      const { suggestion } = parsed
      problems.push({
        message: `address of ${node}, "${addressText}", ${parsed.reason}`,
        ...(suggestion === undefined ? {} : { suggestion }),
      })
      continue
    }
    if (parsed.address.port === 0) {
      problems.push({ message: `address of ${node}, "${addressText}", names port 0: nobody could connect to it` })
      continue
    }
    const address = formatAddress(parsed.address)
    const sameAddress = members.find((member) => member.address === address)
    if (members.some((member) => member.node === node)) {
      problems.push({ message: `node ${node} appears twice`, suggestion: 'name each node once' })
    } else if (sameAddress !== undefined) {
      problems.push({ message: `nodes ${sameAddress.node} and ${node} have the same address ${address}` })
    }
    members.push({ node, address })
  }
  return members
}

function parsePrimary(query: string, problems: CoordinatorProblem[]): string | undefined {
  let primary: string | undefined
  for (const part of query.split('&')) {
    const equals = part.indexOf('=')
    const name = equals === -1 ? part : part.slice(0, equals)
    const value = equals === -1 ? '' : part.slice(equals + 1)
    if (name !== 'primary') {
      const suggestion = closest(name, ['primary'])
      problems.push({
        message: `unknown parameter "${name}"`,
        suggestion: suggestion === undefined ? 'only ?primary=NODE is known' : `did you mean "${suggestion}"?`,
      })
    } else if (primary !== undefined) {
      problems.push({ message: 'names the primary twice' })
    } else if (!namePattern.test(value)) {
      problems.push({ message: `primary "${value}" is no valid name of a node` })
    } else {
      primary = value
    }
  }
  return primary
}
