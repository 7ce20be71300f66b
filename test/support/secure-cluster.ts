import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { findFreePorts } from '#src/cli/free-ports.js'
import type { NodeStatus } from '#src/runtime/handle.js'
import { Authority, type CertificateFiles } from './certificates.js'
import { ServeProcess } from './command.js'

export interface SecureAnswer {
  readonly status: number
  readonly text: string
  readonly location: string | undefined
  /** Of the certificate that the node showed. */
  readonly serial: string
}

/** Nodes as processes of their own: TLS with certificates on both sides, tokens for people, a witness that votes. */
export class SecureCluster {
  readonly authority: Authority
  readonly certificates = new Map<string, CertificateFiles>()
  readonly processes = new Map<string, ServeProcess>()
  /** Everything that all processes have said. */
  readonly ended: ServeProcess[] = []
  readonly accessFile: string
  readonly client: CertificateFiles
  private readonly directory: string
  private readonly ports: ReadonlyMap<string, number>

  private constructor(directory: string, names: readonly string[], ports: readonly number[]) {
    this.directory = directory
    this.authority = new Authority(directory)
    this.ports = new Map(names.map((name, index) => [name, ports[index]!]))
    for (const name of names) {
      this.certificates.set(name, this.authority.issue(`${name}.internal`, { file: `node-${name}` }))
    }
    this.client = this.authority.issue('people')
    this.accessFile = join(directory, 'access.toml')
  }

  static async create(directory: string, names: readonly string[]): Promise<SecureCluster> {
    return new SecureCluster(directory, names, await findFreePorts(names.length))
  }

  /** The nodes by certificate, these tokens beside them. */
  allow(tokens: ReadonlyArray<readonly [token: string, ...scopes: string[]]>): void {
    const nodes = [...this.ports.keys()].map(
      (name) => `[[certificate]]\nname = "${name}.internal"\nscopes = ["replicate"]\n`,
    )
    const people = tokens.map(
      ([token, ...scopes]) => `[[token]]\ntoken = "${token}"\nscopes = ${JSON.stringify(scopes)}\n`,
    )
    writeFileSync(this.accessFile, [...nodes, ...people].join('\n'))
  }

  address(name: string): string {
    return `127.0.0.1:${this.ports.get(name)}`
  }

  url(name: string): string {
    return `https://${this.address(name)}`
  }

  args(name: string): string[] {
    const { cert, key } = this.certificates.get(name)!
    const common = [
      ...['--data', join(this.directory, `data-${name}`), '--cluster', 'shop', '--node', name],
      ...['--listen', this.address(name), '--coordinator', `builtin://w=${this.address('w')}`],
      ...['--access-file', this.accessFile, '--tls-cert', cert, '--tls-key', key],
      ...['--tls-ca', this.authority.ca, '--tls-clients', 'required', '--log-level', 'debug'],
    ]
    return name === 'w' ? [...common, '--witness'] : [...common, '--durability', 'standby', '--in-sync-min', '2']
  }

  async start(name: string): Promise<void> {
    const process = new ServeProcess(this.args(name))
    this.processes.set(name, process)
    this.ended.push(process)
    await process.url()
  }

  async kill(name: string): Promise<void> {
    await this.processes.get(name)!.end('SIGKILL')
  }

  async close(): Promise<void> {
    for (const process of this.processes.values()) await process.end('SIGKILL')
  }

  ask(
    name: string,
    path: string,
    options: { readonly token?: string; readonly method?: string; readonly body?: string } = {},
  ): Promise<SecureAnswer> {
    const { token, method = 'GET', body } = options
    const { cert, key } = this.client
    return new Promise((resolve, reject) => {
      let serial = ''
      const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 })
      const sent = request(`${this.url(name)}${path}`, {
        method,
        agent,
        ca: readFileSync(this.authority.ca),
        cert: readFileSync(cert),
        key: readFileSync(key),
        signal: AbortSignal.timeout(15_000),
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      })
      sent.on('socket', (socket) => {
        socket.once('secureConnect', () => {
          serial = (socket as TLSSocket).getPeerCertificate().serialNumber
        })
      })
      sent.on('response', (response) => {
        let text = ''
        response.on('data', (part: Buffer) => {
          text += part.toString()
        })
        response.on('error', reject)
        const { location } = response.headers
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, location, serial }))
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }

  async status(name: string, token: string): Promise<NodeStatus> {
    return JSON.parse((await this.ask(name, '/v1/status', { token })).text) as NodeStatus
  }

  /** All that was printed and logged. */
  get output(): string {
    return this.ended.map(({ stdout, stderr }) => `${stdout}\n${stderr}`).join('\n')
  }
}
