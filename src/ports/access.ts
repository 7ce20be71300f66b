/** What a node says of who may use it, for status. Never a token, a digest, or anything of a key. */
export interface AccessStatus {
  /** True: no credentials are asked for. */
  readonly open: boolean
  /** Tokens that are valid now, the shared secret among them. */
  readonly tokens: number
  /** Names of certificates that have scopes. */
  readonly certificates: number
  readonly tls: TlsStatus | undefined
  /** Why the files as they are now were not taken; what was read before is in use then. */
  readonly problem: string | undefined
}

export interface TlsStatus {
  readonly clients: 'none' | 'optional' | 'required'
  readonly certificateExpiresAt: string
}
