/** Certificates and keys from PEM files, checked before anything uses them. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { limits } from '../core/limits.js'
import type { ShownCertificate } from './access-control.js'

export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** Authority of other nodes and of clients; undefined: those that Node.js knows, and no client certificates. */
  readonly ca: string | undefined
  readonly clients: 'none' | 'optional' | 'required'
}

export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer | undefined
  readonly expiresMs: number
}

export type ReadTls = { readonly material: TlsMaterial } | { readonly problems: readonly TlsProblem[] }

export interface TlsProblem {
  readonly option: 'tlsCert' | 'tlsKey' | 'tlsCa'
  readonly message: string
}

export function readTls(files: Pick<TlsFiles, 'cert' | 'key' | 'ca'>, nowMs: number): ReadTls {
  const problems: TlsProblem[] = []
  const read = (option: TlsProblem['option'], path: string): Buffer | undefined => {
    const pem = readPem(path)
    if (typeof pem !== 'string') return pem
    problems.push({ option, message: pem })
    return undefined
  }
  const cert = read('tlsCert', files.cert)
  const key = read('tlsKey', files.key)
  const ca = files.ca === undefined ? undefined : read('tlsCa', files.ca)
  const own = cert === undefined ? undefined : parseCertificate(cert)
  if (cert !== undefined && own === undefined) {
    problems.push({ option: 'tlsCert', message: `${files.cert} holds no certificate in PEM` })
  }
  if (ca !== undefined && parseCertificate(ca) === undefined) {
    problems.push({ option: 'tlsCa', message: `${files.ca} holds no certificate in PEM` })
  }
  const expiresMs = own === undefined ? 0 : Date.parse(own.validTo)
  if (own !== undefined && expiresMs <= nowMs) {
    problems.push({ option: 'tlsCert', message: `${files.cert} expired at ${new Date(expiresMs).toISOString()}` })
  }
  if (key !== undefined) {
    const mismatch = keyProblem(key, own)
    if (mismatch !== undefined) problems.push({ option: 'tlsKey', message: `${files.key} ${mismatch}` })
  }
  if (problems.length > 0 || cert === undefined || key === undefined) return { problems }
  return { material: { cert, key, ca, expiresMs } }
}

/** The file's bytes, or why they cannot be had. */
export function readPem(path: string): Buffer | string {
  try {
    const { size } = statSync(path)
    if (size > limits.pemFileBytesMax) return `${path} has ${size} bytes; at most ${limits.pemFileBytesMax}`
    return readFileSync(path)
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`
  }
}

function parseCertificate(pem: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

/** Nothing of the key is in what this says. */
function keyProblem(key: Buffer, own: X509Certificate | undefined): string | undefined {
  try {
    const parsed = createPrivateKey(key)
    return own === undefined || own.checkPrivateKey(parsed) ? undefined : 'is not the key of the certificate'
  } catch {
    return 'holds no private key in PEM without a passphrase'
  }
}

/** What the other side of a TLS connection has shown of itself. */
export function shownCertificate(socket: TLSSocket): ShownCertificate | undefined {
  const certificate = socket.getPeerCertificate()
  // Without a certificate Node.js answers with an empty object.
  if (certificate?.subject === undefined) return undefined
  const { CN } = certificate.subject as { CN?: string | string[] }
  const names = typeof CN === 'string' ? [CN] : []
  const alternative = certificate.subjectaltname ?? ''
  // Quotes are there for names that hold separators: those are made to be misread, and are not read at all.
  if (!alternative.includes('"')) {
    for (const part of alternative.split(', ')) {
      const match = /^(?:DNS|URI):(.+)$/.exec(part)
      if (match !== null) names.push(match[1]!)
    }
  }
  const problem = socket.authorized ? undefined : String(socket.authorizationError ?? 'not verified')
  return { names, problem }
}
