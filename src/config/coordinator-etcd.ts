import { readFileSync, statSync } from 'node:fs'
import { formatAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { readAddress } from './address.js'
import { closest } from './closest.js'
import { readSecretFile } from './secret-file.js'

/**
 * `etcd://[user[:password]@]host:port[,host:port...][/][?tls=1&ca=FILE&cert=FILE&key=FILE&passwordFile=FILE]`: etcd keeps
 * the records and knows the nodes. Files are read when the URL is.
 */
export interface EtcdCoordinator {
  readonly kind: 'etcd'
  /** `host:port` of members of etcd. */
  readonly endpoints: readonly string[]
  readonly username: string | undefined
  readonly password: string | undefined
  /** Undefined: not encrypted. */
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** Without the password. */
  readonly url: string
}

interface Problem {
  readonly message: string
  readonly suggestion?: string
}

export const etcdExample = 'etcd://10.0.0.9:2379'

const parameters = ['tls', 'ca', 'cert', 'key', 'passwordFile'] as const
type Parameter = (typeof parameters)[number]

/**
 * What follows `etcd://`; all problems at once. No problem shows a piece of the URL that may be one of the password:
 * that is also so where a password holds characters that end it too early.
 */
export function parseEtcdCoordinator(rest: string): {
  readonly coordinator: EtcdCoordinator | undefined
  readonly problems: readonly Problem[]
} {
  const problems: Problem[] = []
  const end = /[/?#]/.exec(rest)?.index ?? rest.length
  const authority = rest.slice(0, end)
  const at = authority.lastIndexOf('@')
  const tail = rest.slice(end)
  const mark = tail.indexOf('?')
  const path = mark === -1 ? tail : tail.slice(0, mark)
  if (at === -1 && tail.includes('@')) {
    const suggestion = 'in user and password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A'
    return { coordinator: undefined, problems: [{ message: 'has an @ after the first / ? or #', suggestion }] }
  }
  if (path !== '' && path !== '/')
    problems.push({ message: 'has a path after the addresses: only "/" may follow them' })
  const given = parseParameters(mark === -1 ? '' : tail.slice(mark + 1), problems)
  const user = at === -1 ? undefined : parseUser(authority.slice(0, at), given, problems)
  if (at === -1 && given.has('passwordFile')) problems.push({ message: 'has a passwordFile and names no user' })
  const endpoints = parseEndpoints(authority.slice(at + 1), problems)
  const tls = readTls(given, problems)
  if (problems.length > 0) return { coordinator: undefined, problems }
  const { username, password } = user ?? {}
  const shownUser = username === undefined ? '' : `${encodeURIComponent(username)}@`
  const url = `etcd://${shownUser}${endpoints.join(',')}${tls === undefined ? '' : '?tls=1'}`
  return { coordinator: { kind: 'etcd', endpoints, username, password, tls, url }, problems }
}

function parseEndpoints(text: string, problems: Problem[]): string[] {
  const suggestion = `for example ${etcdExample}`
  if (text === '') {
    problems.push({ message: 'names no address of etcd', suggestion })
    return []
  }
  const parts = text.split(',')
  if (parts.length > limits.coordinatorEndpointsMax) {
    problems.push({ message: `names ${parts.length} addresses; at most ${limits.coordinatorEndpointsMax}` })
    return []
  }
  const endpoints: string[] = []
  for (const part of parts) {
    const parsed = readAddress(part)
    if ('reason' in parsed) {
      // Its own suggestions name the port of a node.
      problems.push({ message: `address "${part}" ${parsed.reason}`, suggestion })
      continue
    }
    const address = formatAddress(parsed.address)
    if (parsed.address.port === 0) problems.push({ message: `address "${part}" names port 0` })
    else if (endpoints.includes(address)) problems.push({ message: `names ${address} twice` })
    endpoints.push(address)
  }
  return endpoints
}

function parseParameters(query: string, problems: Problem[]): Map<Parameter, string> {
  const given = new Map<Parameter, string>()
  for (const part of query === '' ? [] : query.split('&')) {
    const equals = part.indexOf('=')
    const name = equals === -1 ? part : part.slice(0, equals)
    const value = equals === -1 ? '' : decode(part.slice(equals + 1))
    const known = parameters.find((one) => one === name)
    if (known === undefined) {
      const meant = closest(name, parameters)
      problems.push({
        message: `unknown parameter "${name}"`,
        suggestion: meant === undefined ? `known are ${parameters.join(', ')}` : `did you mean "${meant}"?`,
      })
    } else if (given.has(known)) problems.push({ message: `has ${known} twice` })
    else if (value === undefined) problems.push({ message: `${known} has a % that begins no escaped character` })
    else if (value === '') problems.push({ message: `${known} is empty` })
    else given.set(known, value)
  }
  return given
}

function parseUser(
  userinfo: string,
  given: ReadonlyMap<Parameter, string>,
  problems: Problem[],
): { readonly username: string; readonly password: string } | undefined {
  const colon = userinfo.indexOf(':')
  const username = decode(colon === -1 ? userinfo : userinfo.slice(0, colon))
  const inUrl = colon === -1 ? undefined : decode(userinfo.slice(colon + 1))
  if (username === undefined || (colon !== -1 && inUrl === undefined)) {
    problems.push({
      message: 'user or password has a % that begins no escaped character',
      suggestion: 'write % as %25',
    })
    return undefined
  }
  if (username === '') problems.push({ message: 'has an @ and no user before it' })
  const file = given.get('passwordFile')
  if (inUrl !== undefined && file !== undefined) {
    problems.push({ message: 'has a password and a passwordFile: only one of them can be meant' })
    return undefined
  }
  let password = inUrl
  if (file !== undefined) {
    const read = readSecretFile(file)
    if ('reason' in read) {
      problems.push({ message: `passwordFile ${file} ${read.reason}` })
      return undefined
    }
    password = read.secret
  }
  if (password === undefined || password === '') {
    problems.push({ message: 'names a user without a password', suggestion: 'add ?passwordFile=FILE' })
    return undefined
  }
  return { username, password }
}

function readTls(given: ReadonlyMap<Parameter, string>, problems: Problem[]): EtcdCoordinator['tls'] {
  const flag = given.get('tls')
  if (flag !== undefined && flag !== '1' && flag !== '0') problems.push({ message: `tls is 1 or 0, not "${flag}"` })
  const files = (['ca', 'cert', 'key'] as const).filter((name) => given.has(name))
  if (flag === '0' && files.length > 0) problems.push({ message: `has tls=0 and ${files.join(', ')}` })
  if (given.has('cert') !== given.has('key')) {
    problems.push({
      message: `has ${given.has('cert') ? 'cert without key' : 'key without cert'}: they belong together`,
    })
  }
  if (flag !== '1' && files.length === 0) return undefined
  const tls: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {}
  for (const name of files) {
    const path = given.get(name)!
    try {
      const { size } = statSync(path)
      if (size > limits.configFileBytesMax) problems.push({ message: `${name} ${path} has ${size} bytes` })
      else {
        const content = readFileSync(path)
        if (content.includes('-----BEGIN ')) tls[name] = content
        else problems.push({ message: `${name} ${path} is no PEM file` })
      }
    } catch (error) {
      problems.push({ message: `${name} cannot be read: ${(error as Error).message}` })
    }
  }
  return tls
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
