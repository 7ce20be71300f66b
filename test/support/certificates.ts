import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Undefined where there is none: tests that need certificates are skipped with this reason then. */
export const withoutOpenssl: string | false =
  spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed'

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

/** A certificate authority in a directory, made with the openssl of this machine. */
export class Authority {
  readonly ca: string
  private readonly key: string
  private readonly directory: string
  private readonly name: string
  private issued = 0

  constructor(directory: string, name = 'ca') {
    this.directory = directory
    this.name = name
    this.ca = join(directory, `${name}.pem`)
    this.key = join(directory, `${name}.key`)
    openssl([
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${name}`, '-keyout', this.key, '-out', this.ca],
      ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ])
  }

  /** Signs a certificate for this common name, valid on the loopback addresses unless it says otherwise. */
  issue(
    commonName: string,
    options: { readonly expired?: boolean; readonly alternative?: string; readonly file?: string } = {},
  ): CertificateFiles {
    this.issued += 1
    const base = join(this.directory, options.file ?? `${this.name}-${commonName}-${this.issued}`)
    const [cert, key, request, extensions] = [`${base}.pem`, `${base}.key`, `${base}.csr`, `${base}.ext`]
    const alternative = options.alternative ?? 'IP:127.0.0.1,DNS:localhost'
    writeFileSync(extensions, `subjectAltName=${alternative}\nextendedKeyUsage=serverAuth,clientAuth\n`)
    openssl([
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', `/CN=${commonName}`, '-keyout', key, '-out', request],
    ])
    // 0 days: over when it begins. A negative number is refused by later releases of openssl.
    const validity = options.expired === true ? ['-days', '0'] : ['-days', '1']
    openssl([
      ...[
        'x509',
        '-req',
        '-in',
        request,
        '-CA',
        this.ca,
        '-CAkey',
        this.key,
        '-set_serial',
        String(Date.now() + this.issued),
      ],
      ...['-extfile', extensions, '-out', cert, ...validity],
    ])
    return { cert, key }
  }
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
