import { type Command, InvalidArgumentError, Option } from 'commander'
import { readPem } from '../access/certificates.js'
import { readToken } from '../access/credential-files.js'
import { readAddress } from '../config/address.js'
import { fields } from '../config/schema.js'
import { readSecretFile } from '../config/secret-file.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { ClientTls, NodeAddress } from './node-client.js'
import { defaultListen } from './node-flags.js'

export interface ClientFlags {
  readonly url?: string
  readonly secretFile?: string
  readonly tokenFile?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly json?: boolean
}

/** For commands that ask a running node. */
export function addClientFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--url <URL>', `the node to ask (default: UNDERSTUDY_URL, or http://${defaultListen})`).argParser(
        parseUrl,
      ),
    )
    .addOption(
      new Option(
        '--secret-file <FILE>',
        "file with the cluster's secret (default: UNDERSTUDY_SECRET_FILE; or the secret itself in UNDERSTUDY_SECRET)",
      ),
    )
    .addOption(
      new Option(
        '--token-file <FILE>',
        'file with a token (default: UNDERSTUDY_TOKEN_FILE; or the token itself in UNDERSTUDY_TOKEN)',
      ).conflicts('secretFile'),
    )
    .addOption(
      new Option(
        '--ca <FILE>',
        "authority of the nodes' certificates, in PEM; implies https (default: UNDERSTUDY_TLS_CA)",
      ),
    )
    .addOption(new Option('--cert <FILE>', 'certificate of this client, in PEM (default: UNDERSTUDY_TLS_CERT)'))
    .addOption(new Option('--key <FILE>', 'its private key, in PEM (default: UNDERSTUDY_TLS_KEY)'))
}

export function nodeAddress(flags: ClientFlags): NodeAddress {
  const { UNDERSTUDY_URL } = process.env
  let url = flags.url
  if (url === undefined && UNDERSTUDY_URL !== undefined && UNDERSTUDY_URL !== '') {
    try {
      url = parseUrl(UNDERSTUDY_URL)
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      throw new UnderstudyError('CONFIG', `UNDERSTUDY_URL: ${UNDERSTUDY_URL} ${error.message}`)
    }
  }
  const tls = clientTls(flags)
  return {
    url: withScheme(url ?? defaultListen, tls !== undefined),
    secret: clientToken(flags),
    ...(tls === undefined ? {} : { tls }),
  }
}

/** An address without a scheme is asked with TLS where an authority is named. */
export function withScheme(url: string, hasTls: boolean): string {
  return url.includes('://') ? url : `${hasTls ? 'https' : 'http'}://${url}`
}

/** `http://host:port`, `https://…`, or `host:port` alone, which is left without a scheme. */
export function parseUrl(text: string): string {
  if (!text.includes('://')) {
    const parsed = readAddress(text)
    if ('address' in parsed) return text
    throw new InvalidArgumentError(
      `${parsed.reason}${parsed.suggestion === undefined ? '' : ` (${parsed.suggestion})`}`,
    )
  }
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidArgumentError(`is no URL of a node (for example http://${defaultListen})`)
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new InvalidArgumentError('must not have a user, a query or a fragment (the secret: --secret-file)')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** Flags before variables; a token before the secret. */
function clientToken(flags: ClientFlags): string | undefined {
  const { UNDERSTUDY_TOKEN, UNDERSTUDY_TOKEN_FILE } = process.env
  if (flags.secretFile !== undefined) return clientSecret(flags.secretFile)
  const tokenFile = flags.tokenFile ?? (UNDERSTUDY_TOKEN === undefined ? UNDERSTUDY_TOKEN_FILE : undefined)
  const { token, problems } = readToken({ token: UNDERSTUDY_TOKEN, tokenFile })
  const problem = problems[0]
  if (problem !== undefined) {
    const source = tokenFile === undefined ? 'UNDERSTUDY_TOKEN' : `token file ${tokenFile}`
    throw new UnderstudyError('CONFIG', `${source}: ${problem.message}`)
  }
  return token ?? clientSecret(undefined)
}

/** Undefined if nothing about TLS was given. */
export function clientTls(flags: {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}): ClientTls | undefined {
  const { UNDERSTUDY_TLS_CA, UNDERSTUDY_TLS_CERT, UNDERSTUDY_TLS_KEY } = process.env
  const files = {
    ca: flags.ca ?? UNDERSTUDY_TLS_CA,
    cert: flags.cert ?? UNDERSTUDY_TLS_CERT,
    key: flags.key ?? UNDERSTUDY_TLS_KEY,
  }
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new UnderstudyError('CONFIG', 'a certificate of a client has a key: give --cert and --key, or neither')
  }
  const read = (flag: string, path: string): Buffer => {
    const pem = readPem(path)
    if (typeof pem === 'string') throw new UnderstudyError('CONFIG', `${flag}: ${path}: ${pem}`)
    return pem
  }
  if (files.ca === undefined && files.cert === undefined) return undefined
  return {
    ...(files.ca === undefined ? {} : { ca: read('--ca', files.ca) }),
    ...(files.cert === undefined ? {} : { cert: read('--cert', files.cert) }),
    ...(files.key === undefined ? {} : { key: read('--key', files.key) }),
  }
}

export function clientSecret(file: string | undefined): string | undefined {
  const { UNDERSTUDY_SECRET, UNDERSTUDY_SECRET_FILE } = process.env
  const path = file ?? (UNDERSTUDY_SECRET === undefined ? UNDERSTUDY_SECRET_FILE : undefined)
  if (path !== undefined) {
    const read = readSecretFile(path)
    if ('reason' in read) throw new UnderstudyError('CONFIG', `secret file ${path}: ${read.reason}`)
    return checkSecret(read.secret, path)
  }
  return UNDERSTUDY_SECRET === undefined ? undefined : checkSecret(UNDERSTUDY_SECRET, 'UNDERSTUDY_SECRET')
}

function checkSecret(secret: string, source: string): string {
  const parsed = fields.secret.safeParse(secret)
  if (parsed.success) return parsed.data
  throw new UnderstudyError('CONFIG', `the secret in ${source} ${parsed.error.issues[0]!.message}`)
}

const millisecondsOf: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

/** `500ms`, `10s`, `1m`; in milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m)$/.exec(text)
  const value = match === null ? Number.NaN : Math.round(Number(match[1]) * millisecondsOf[match[2]!]!)
  if (value >= 1 && value <= limits.writeTimeoutMsMax) return value
  throw new InvalidArgumentError(`is no duration from 1ms to ${limits.writeTimeoutMsMax / 60_000}m (for example 10s)`)
}
