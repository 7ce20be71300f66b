/** Who may do what: tokens and client certificates with their scopes, from a file or from the environment. */
import { createHash } from 'node:crypto'
import { parse, TomlDate, TomlError } from 'smol-toml'
import { z } from 'zod'
import { limits } from '../core/limits.js'
import { type Scope, scopes } from './scope.js'

export interface AccessToken {
  readonly name: string
  readonly digest: Buffer
  /** Undefined where only its digest is known: then this node cannot present it to others. */
  readonly text: string | undefined
  readonly scopes: ReadonlySet<Scope>
  readonly expiresMs: number | undefined
}

export interface AccessCertificate {
  /** Common name, or a DNS or URI name of the certificate. */
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
}

export interface AccessList {
  readonly tokens: readonly AccessToken[]
  readonly certificates: readonly AccessCertificate[]
}

export interface ParsedAccess {
  readonly list: AccessList
  /** Never hold what a token is. */
  readonly problems: readonly string[]
}

export const emptyAccess: AccessList = { tokens: [], certificates: [] }

const tokenRule = `must be ${limits.tokenBytesMin} to ${limits.secretBytesMax} characters of A-Z a-z 0-9 - . _ ~ + / =`

/** Without the value in any message: `zod` would not show it, and nothing else may. */
export const tokenText = z
  .string('must be text')
  .min(limits.tokenBytesMin, tokenRule)
  .max(limits.secretBytesMax, tokenRule)
  .regex(/^[A-Za-z0-9._~+/-]+=*$/, tokenRule)

const scopeList = z
  .array(z.enum(scopes, `must be one of ${scopes.join(', ')}`), 'must be a list of scopes')
  .min(1, 'must name at least one scope')

const name = z.string('must be text').min(1, 'must not be empty').max(limits.addressBytesMax, 'is too long')

const expiryRule = 'must be a date and time with its offset, like 2027-01-31T00:00:00Z, without quotes'

/** A local time is another moment on every machine. */
function isInstant(date: Date): boolean {
  return !(date instanceof TomlDate) || (date.isDateTime() && !date.isLocal())
}

const tokenEntry = z
  .strictObject({
    name: name.optional(),
    token: tokenText.optional(),
    sha256: z
      .string('must be text')
      .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits')
      .optional(),
    scopes: scopeList,
    expires: z.date(expiryRule).refine(isInstant, expiryRule).optional(),
  })
  .refine(
    (entry) => (entry.token === undefined) !== (entry.sha256 === undefined),
    'needs exactly one of token and sha256',
  )

const certificateEntry = z.strictObject({ name, scopes: scopeList })

const file = z.strictObject({
  token: z.array(tokenEntry, 'is written [[token]]').max(limits.tokensMax, `at most ${limits.tokensMax}`).optional(),
  certificate: z
    .array(certificateEntry, 'is written [[certificate]]')
    .max(limits.tokensMax, `at most ${limits.tokensMax}`)
    .optional(),
})

export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** The TOML of an access file. */
export function parseAccessFile(text: string): ParsedAccess {
  let table: Record<string, unknown>
  try {
    table = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // Only the first line of its message: those below quote the file, and a token may stand there.
    const what = error.message.split('\n')[0]!.replace('Invalid TOML document: ', '')
    return { list: emptyAccess, problems: [`line ${error.line}: is not TOML: ${what}`] }
  }
  const parsed = file.safeParse(table)
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${pathOf(issue.path)}${describe(issue)}`)
    return { list: emptyAccess, problems }
  }
  const tokens = (parsed.data.token ?? []).map(
    (entry, index): AccessToken => ({
      name: entry.name ?? `token ${index + 1}`,
      digest: entry.sha256 === undefined ? digestOf(entry.token!) : Buffer.from(entry.sha256, 'hex'),
      text: entry.token,
      scopes: new Set(entry.scopes),
      expiresMs: entry.expires?.getTime(),
    }),
  )
  const certificates = (parsed.data.certificate ?? []).map((entry) => ({
    name: entry.name,
    scopes: new Set(entry.scopes),
  }))
  return checked({ tokens, certificates })
}

/** `read,write:TOKEN admin:TOKEN`, separated by spaces or line ends: what fits into a variable. */
export function parseAccessText(text: string): ParsedAccess {
  const tokens: AccessToken[] = []
  const problems: string[] = []
  const parts = text.split(/\s+/).filter((part) => part !== '')
  if (parts.length === 0) problems.push('names no token')
  if (parts.length > limits.tokensMax) problems.push(`at most ${limits.tokensMax} tokens`)
  parts.forEach((part, index) => {
    const what = `token ${index + 1}`
    const colon = part.indexOf(':')
    if (colon === -1) {
      problems.push(`${what}: is not SCOPE,SCOPE:TOKEN`)
      return
    }
    const listed = scopeList.safeParse(part.slice(0, colon).split(','))
    const token = tokenText.safeParse(part.slice(colon + 1))
    if (!listed.success) problems.push(`${what}: scopes: ${listed.error.issues[0]!.message}`)
    if (!token.success) problems.push(`${what}: ${token.error.issues[0]!.message}`)
    if (!listed.success || !token.success) return
    tokens.push({
      name: what,
      digest: digestOf(token.data),
      text: token.data,
      scopes: new Set(listed.data),
      expiresMs: undefined,
    })
  })
  return problems.length > 0 ? { list: emptyAccess, problems } : checked({ tokens, certificates: [] })
}

/** A token that stands twice would keep its rights when one of the entries is taken out. */
function checked(list: AccessList): ParsedAccess {
  const problems: string[] = []
  const seen = new Map<string, string>()
  for (const token of list.tokens) {
    const key = token.digest.toString('hex')
    const other = seen.get(key)
    if (other !== undefined) problems.push(`${token.name} is the same token as ${other}`)
    seen.set(key, token.name)
  }
  const names = new Set<string>()
  for (const certificate of list.certificates) {
    if (names.has(certificate.name)) problems.push(`certificate ${certificate.name} stands twice`)
    names.add(certificate.name)
  }
  return problems.length > 0 ? { list: emptyAccess, problems } : { list, problems }
}

function pathOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return ''
  const text = path.map((part) => (typeof part === 'number' ? `[${part + 1}]` : `.${String(part)}`)).join('')
  return `${text.replace(/^\./, '')}: `
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return issue.message
  return `unknown key ${issue.keys.map((key) => `"${key.slice(0, 40)}"`).join(', ')}`
}
