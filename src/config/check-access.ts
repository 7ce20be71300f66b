import { readTls, type TlsFiles } from '../access/certificates.js'
import { readAccess, readToken } from '../access/credential-files.js'
import type { OptionKey } from './option-table.js'
import type { ParsedOptions } from './schema.js'

type Report = (path: OptionKey, message: string, suggestion?: string) => void

export interface CheckedAccess {
  readonly sources: {
    readonly accessFile: string | undefined
    readonly tokens: string | undefined
    readonly token: string | undefined
    readonly tokenFile: string | undefined
    readonly tls: TlsFiles | undefined
  }
  /** True also if what was given is wrong: one mistake is reported once. */
  readonly asksForCredentials: boolean
}

/** Tokens and certificates: the files are read, so that a mistake in them is known before anything starts. */
export function checkAccess(
  given: ParsedOptions,
  input: Readonly<Record<string, unknown>>,
  report: Report,
): CheckedAccess {
  const { accessFile, tokens, token, tokenFile } = given
  const access = readAccess({ accessFile, tokens })
  for (const { option, message } of access.problems) report(option, message)
  if (input.token !== undefined && input.tokenFile !== undefined) {
    report('tokenFile', 'stands beside token: only one of them can be meant')
  } else {
    for (const { option, message } of readToken({ token, tokenFile }).problems) report(option, message)
  }
  const tls = checkTls(given, input, report)
  if (access.list.certificates.length > 0 && (tls === undefined || tls.clients === 'none')) {
    report('accessFile', 'names certificates, and this node asks for none', 'add tlsCert, tlsKey and tlsCa')
  }
  const asksForTokens = input.accessFile !== undefined || input.tokens !== undefined
  return {
    sources: { accessFile, tokens, token, tokenFile, tls },
    asksForCredentials: asksForTokens || (input.tlsClients === 'required' && input.tlsCa !== undefined),
  }
}

function checkTls(
  given: ParsedOptions,
  input: Readonly<Record<string, unknown>>,
  report: Report,
): TlsFiles | undefined {
  const has = (key: OptionKey): boolean => input[key] !== undefined
  if (!has('tlsCert') && !has('tlsKey') && !has('tlsCa') && !has('tlsClients')) return undefined
  for (const key of ['tlsCert', 'tlsKey'] as const) {
    if (!has(key)) report(key, 'is missing', 'a node with TLS needs tlsCert and tlsKey')
  }
  const { tlsCert: cert, tlsKey: key, tlsCa: ca, tlsClients } = given
  if (tlsClients !== undefined && tlsClients !== 'none' && !has('tlsCa')) {
    report('tlsClients', `"${tlsClients}" needs tlsCa`, 'name the authority that signs the certificates of clients')
  }
  if (cert === undefined || key === undefined) return undefined
  const read = readTls({ cert, key, ca }, Date.now())
  if ('problems' in read) for (const { option, message } of read.problems) report(option, message)
  return { cert, key, ca, clients: tlsClients ?? (ca === undefined ? 'none' : 'optional') }
}
