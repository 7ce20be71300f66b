import { type Command, InvalidArgumentError, Option } from 'commander'
import { readAddress } from '../config/address.js'
import { fields } from '../config/schema.js'
import { readSecretFile } from '../config/secret-file.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { NodeAddress } from './node-client.js'
import { defaultListen } from './node-flags.js'

export interface ClientFlags {
  readonly url?: string
  readonly secretFile?: string
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
  return { url: url ?? `http://${defaultListen}`, secret: clientSecret(flags.secretFile) }
}

/** `http://host:port`, `https://…` (a proxy in front of the node), or `host:port` alone. */
export function parseUrl(text: string): string {
  if (!text.includes('://')) {
    const parsed = readAddress(text)
    if ('address' in parsed) return `http://${text}`
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
