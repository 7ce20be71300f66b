import type { IncomingMessage } from 'node:http'
import { type ConnectionOptions, TLSSocket } from 'node:tls'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { AccessStatus } from '../ports/access.js'
import type { Logger } from '../ports/logger.js'
import { AccessControl, demandScope, type Grant, type ShownCredentials } from './access-control.js'
import type { AccessList } from './access-list.js'
import { readTls, shownCertificate, type TlsFiles, type TlsMaterial } from './certificates.js'
import { firstOfNodes, readAccess, readToken } from './credential-files.js'
import { WatchedFiles } from './watched-files.js'

/** Where credentials come from. */
export interface CredentialSources {
  readonly secret: string | undefined
  readonly accessFile: string | undefined
  /** The same as text, from the environment. */
  readonly tokens: string | undefined
  /** What this node shows to others, itself or in a file. */
  readonly token: string | undefined
  readonly tokenFile: string | undefined
  readonly tls: TlsFiles | undefined
}

export const noCredentials: CredentialSources = {
  secret: undefined,
  accessFile: undefined,
  tokens: undefined,
  token: undefined,
  tokenFile: undefined,
  tls: undefined,
}

/** With what this node connects to another one. */
export interface DialOptions {
  readonly tls: ConnectionOptions | undefined
  readonly token: string | undefined
}

interface Loaded {
  readonly list: AccessList
  readonly control: AccessControl
  readonly token: string | undefined
  readonly tls: TlsMaterial | undefined
}

/**
 * Tokens, certificates and keys of this process, read anew when their files change. Files that cannot be used as they
 * are change nothing: what was read before stays in use, and log and status say why.
 */
export class Credentials {
  readonly #sources: CredentialSources
  readonly #logger: Logger
  readonly #watch: WatchedFiles | undefined
  readonly #listeners = new Set<() => void>()
  #loaded: Loaded
  #problem: string | undefined

  /** Throws `CONFIG` if the sources cannot be used. */
  constructor(sources: CredentialSources, logger: Logger, pollMs: number = limits.credentialsPollMs) {
    this.#sources = sources
    this.#logger = logger
    this.#loaded = load(sources)
    const { accessFile, tokenFile, tls } = sources
    const paths = [accessFile, tokenFile, tls?.cert, tls?.key, tls?.ca].filter((path) => path !== undefined)
    this.#watch = paths.length === 0 ? undefined : new WatchedFiles(paths, pollMs, () => this.#reload())
  }

  get isOpen(): boolean {
    return this.#loaded.control.isOpen
  }

  /** Undefined: this node speaks plain text. Files are read anew, whether there is TLS does not change. */
  get tls(): { readonly material: TlsMaterial; readonly clients: TlsFiles['clients'] } | undefined {
    const { tls: material } = this.#loaded
    return material === undefined ? undefined : { material, clients: this.#sources.tls!.clients }
  }

  get status(): AccessStatus {
    const { list, control, tls } = this.#loaded
    const nowMs = Date.now()
    const valid = list.tokens.filter(({ expiresMs }) => expiresMs === undefined || expiresMs > nowMs)
    return {
      open: control.isOpen,
      tokens: valid.length + (this.#sources.secret === undefined ? 0 : 1),
      certificates: list.certificates.length,
      tls:
        tls === undefined
          ? undefined
          : { clients: this.#sources.tls!.clients, certificateExpiresAt: new Date(tls.expiresMs).toISOString() },
      problem: this.#problem,
    }
  }

  /** What this request may do. Throws `UNAUTHORIZED`. */
  grant(request: IncomingMessage): Grant {
    return this.#loaded.control.grant(shownBy(request), Date.now())
  }

  /**
   * Lets another node in, or throws. The answer says later whether it would be let in still: its credentials may be
   * taken out of the files. With a shared secret the handshake proves more than a token could.
   */
  admitNode(request: IncomingMessage): () => boolean {
    if (this.#sources.secret !== undefined) return () => true
    const shown = shownBy(request)
    const demand = (): void => demandScope(this.#loaded.control.grant(shown, Date.now()), 'replicate')
    demand()
    return () => {
      try {
        demand()
        return true
      } catch (error) {
        if (error instanceof UnderstudyError) return false
        throw error
      }
    }
  }

  dial(): DialOptions {
    const { list, token, tls } = this.#loaded
    return {
      // With a shared secret the handshake is the proof, and it is not sent to whoever answers at an address.
      token: this.#sources.secret === undefined ? (token ?? firstOfNodes(list, Date.now())) : undefined,
      tls:
        tls === undefined
          ? undefined
          : {
              cert: tls.cert,
              key: tls.key,
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
              minVersion: 'TLSv1.2',
            },
    }
  }

  /** Returns what stops it. Called after something was read anew. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Looks at the files now. */
  check(): void {
    this.#watch?.check()
  }

  close(): void {
    this.#watch?.close()
    this.#listeners.clear()
  }

  #reload(): void {
    try {
      this.#loaded = load(this.#sources)
    } catch (error) {
      if (!(error instanceof UnderstudyError)) throw error
      this.#problem = error.message
      this.#logger.error(
        { code: error.code, reason: error.message },
        'credentials were not read anew: the old ones stay',
      )
      return
    }
    this.#problem = undefined
    this.#logger.info({ ...this.status }, 'credentials were read anew')
    for (const listener of this.#listeners) listener()
  }
}

function load(sources: CredentialSources): Loaded {
  const { secret, tls: files } = sources
  const access = readAccess(sources)
  const own = readToken(sources)
  const tls = files === undefined ? undefined : readTls(files, Date.now())
  const problems = [
    ...access.problems.map(({ option, message }) => `${option}: ${message}`),
    ...own.problems.map(({ option, message }) => `${option}: ${message}`),
    ...(tls !== undefined && 'problems' in tls
      ? tls.problems.map(({ option, message }) => `${option}: ${message}`)
      : []),
  ]
  if (problems.length > 0) throw new UnderstudyError('CONFIG', problems.join('; '))
  const certificatesRequired = files?.clients === 'required'
  return {
    list: access.list,
    control: new AccessControl({ list: access.list, secret, certificatesRequired }),
    token: own.token,
    tls: tls !== undefined && 'material' in tls ? tls.material : undefined,
  }
}

function shownBy(request: IncomingMessage): ShownCredentials {
  const { socket, headers } = request
  return {
    authorization: headers.authorization,
    certificate: socket instanceof TLSSocket ? shownCertificate(socket) : undefined,
  }
}
