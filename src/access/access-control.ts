import { timingSafeEqual } from 'node:crypto'
import { UnderstudyError } from '../errors.js'
import { type AccessList, type AccessToken, digestOf } from './access-list.js'
import { allScopes, type Scope } from './scope.js'

/** Of the client certificate of a connection; undefined where none was shown. */
export interface ShownCertificate {
  readonly names: readonly string[]
  /** Why it is not accepted; undefined if it is. */
  readonly problem: string | undefined
}

export interface ShownCredentials {
  /** The header `Authorization`. */
  readonly authorization: string | undefined
  readonly certificate: ShownCertificate | undefined
}

export interface Grant {
  readonly scopes: ReadonlySet<Scope>
  /** True where a browser adds the credentials by itself, whoever's page sends the request; also where none are needed. */
  readonly isAmbient: boolean
}

export interface AccessControlOptions {
  readonly list: AccessList
  /** Shared secret of the cluster: a token with every scope. */
  readonly secret: string | undefined
  /** Without any tokens or certificates listed, every certificate that the authority signed may do everything. */
  readonly certificatesRequired: boolean
}

const secretHint = 'send "Authorization: Bearer TOKEN"; on the command line --token-file or UNDERSTUDY_TOKEN'

/** Decides what credentials allow. It knows no token, only digests, and looks at all of them whatever is shown. */
export class AccessControl {
  readonly #tokens: readonly AccessToken[]
  readonly #options: AccessControlOptions

  constructor(options: AccessControlOptions) {
    this.#options = options
    const { secret, list } = options
    const ofSecret: AccessToken[] =
      secret === undefined
        ? []
        : [{ name: 'the secret', digest: digestOf(secret), text: undefined, scopes: allScopes, expiresMs: undefined }]
    this.#tokens = [...ofSecret, ...list.tokens]
  }

  /** No credentials are asked for: whoever can connect may do everything. */
  get isOpen(): boolean {
    return (
      this.#tokens.length === 0 && this.#options.list.certificates.length === 0 && !this.#options.certificatesRequired
    )
  }

  /** Throws `UNAUTHORIZED`. */
  grant(shown: ShownCredentials, nowMs: number): Grant {
    if (this.isOpen) return { scopes: allScopes, isAmbient: true }
    const { authorization, certificate } = shown
    // A token that is shown counts, and fails if it is wrong, whatever the certificate would allow beside it.
    const byToken = authorization === undefined ? undefined : this.#ofToken(authorization, nowMs)
    const byCertificate = certificate === undefined ? undefined : this.#ofCertificate(certificate)
    if (byToken !== undefined) return { scopes: new Set([...byToken, ...(byCertificate ?? [])]), isAmbient: false }
    if (byCertificate !== undefined) return { scopes: byCertificate, isAmbient: true }
    const both = this.#options.list.certificates.length > 0 || this.#options.certificatesRequired
    throw new UnderstudyError('UNAUTHORIZED', `this node asks for a token${both ? ' or a client certificate' : ''}`, {
      hint: secretHint,
    })
  }

  #ofToken(authorization: string, nowMs: number): ReadonlySet<Scope> {
    const match = /^bearer +(\S+) *$/i.exec(authorization)
    if (match === null) {
      throw new UnderstudyError('UNAUTHORIZED', 'header Authorization is not "Bearer TOKEN"', { hint: secretHint })
    }
    const given = digestOf(match[1]!)
    let found: AccessToken | undefined
    // Digests have one length, and all are compared: the time taken says nothing about any of them.
    for (const token of this.#tokens) if (timingSafeEqual(token.digest, given)) found = token
    if (found === undefined) {
      throw new UnderstudyError('UNAUTHORIZED', 'the token is not known here', { hint: secretHint })
    }
    if (found.expiresMs !== undefined && nowMs >= found.expiresMs) {
      throw new UnderstudyError('UNAUTHORIZED', `${found.name} expired at ${new Date(found.expiresMs).toISOString()}`, {
        hint: 'use the token that took its place',
      })
    }
    return found.scopes
  }

  #ofCertificate(shown: ShownCertificate): ReadonlySet<Scope> | undefined {
    if (shown.problem !== undefined) {
      throw new UnderstudyError('UNAUTHORIZED', `the client certificate is not accepted: ${shown.problem}`, {
        hint: 'use one that is valid now and signed by the authority in tlsCa of this node',
      })
    }
    const { list, certificatesRequired } = this.#options
    if (certificatesRequired && this.#tokens.length === 0 && list.certificates.length === 0) return allScopes
    const entries = list.certificates.filter(({ name }) => shown.names.includes(name))
    // Not listed is not refused: a node may show its certificate to everybody, and a token beside it.
    if (entries.length === 0) return undefined
    return new Set(entries.flatMap((entry) => [...entry.scopes]))
  }
}

/** Throws `FORBIDDEN`. */
export function demandScope(grant: Grant, scope: Scope): void {
  if (grant.scopes.has(scope)) return
  const has = [...grant.scopes].join(', ')
  throw new UnderstudyError('FORBIDDEN', `this needs the scope "${scope}"; these credentials have: ${has}`, {
    hint: `use credentials with the scope "${scope}"`,
  })
}
