import type { TlsFiles } from '../access/certificates.js'
import type { CredentialSources } from '../access/credentials.js'
import { type Address, formatAddress } from '../core/address.js'
import type { Durability } from '../core/record.js'
import type { EngineKind } from '../ports/engine.js'
import type { CoordinatorOptions } from './coordinator.js'
import { optionsOfData } from './option-table.js'
import type { Compression, LogLevel } from './schema.js'

export interface HeartbeatOptions {
  readonly url: URL
  readonly intervalMs: number
}

/** Everything a node is started with: checked, and with every default filled in. */
export interface NodeOptions {
  readonly data: string
  readonly cluster: string
  readonly node: string
  /** Undefined: the node is not reachable, still durable. */
  readonly listen: Address | undefined
  /** `host:port` for others. Undefined: the address that was bound, or none without `listen`. */
  readonly advertise: string | undefined
  /** Undefined: a single node, primary of itself. */
  readonly coordinator: CoordinatorOptions | undefined
  /** True: the voter of the builtin coordinator and nothing else; the options of data do not count then. */
  readonly witness: boolean
  readonly durability: Durability
  readonly inSyncMin: number
  readonly failoverMs: number
  readonly inSyncTimeoutMs: number
  readonly engine: EngineKind
  readonly secret: string | undefined
  readonly accessFile: string | undefined
  readonly tokens: string | undefined
  readonly token: string | undefined
  readonly tokenFile: string | undefined
  /** Undefined: plain text, to this node and from it to the others. */
  readonly tls: TlsFiles | undefined
  readonly insecure: boolean
  /** Undefined: nobody is called. */
  readonly heartbeat: HeartbeatOptions | undefined
  readonly logLevel: LogLevel
  readonly writeTimeoutMs: number
  readonly segmentBytes: number
  readonly slotRetainBytes: number
  readonly checkpointBytes: number
  /** Bytes per second; undefined: no limit. */
  readonly bootstrapMaxRate: number | undefined
  /** Of engine rocksdb alone; undefined: its defaults. */
  readonly rocksdbCacheBytes: number | undefined
  readonly rocksdbCompression: Compression | undefined
  /** Bytes per second over all bootstraps that this node serves; undefined: no limit. */
  readonly bootstrapSourceMaxRate: number | undefined
  /** `range-chunks`: this node neither asks for files of an engine nor hands them out. */
  readonly bootstrapMethod: 'auto' | 'range-chunks'
}

export function credentialSources(options: NodeOptions): CredentialSources {
  const { secret, accessFile, tokens, token, tokenFile, tls } = options
  return { secret, accessFile, tokens, token, tokenFile, tls }
}

/** For people and logs: of secrets it only says that they are set; the path of the heartbeat is one with most services. */
export function describeOptions(options: NodeOptions): Record<string, string | number | boolean> {
  const {
    secret,
    token,
    tokens,
    tls,
    listen,
    coordinator,
    advertise,
    bootstrapMaxRate,
    rocksdbCacheBytes,
    rocksdbCompression,
    bootstrapSourceMaxRate,
    heartbeat,
    accessFile,
    tokenFile,
    ...rest
  } = options
  return {
    ...(options.witness ? withoutData(rest) : rest),
    ...(listen === undefined ? {} : { listen: formatAddress(listen) }),
    ...(advertise === undefined ? {} : { advertise }),
    ...(bootstrapMaxRate === undefined ? {} : { bootstrapMaxRate }),
    ...(rocksdbCacheBytes === undefined ? {} : { rocksdbCacheBytes }),
    ...(rocksdbCompression === undefined ? {} : { rocksdbCompression }),
    ...(bootstrapSourceMaxRate === undefined ? {} : { bootstrapSourceMaxRate }),
    ...(coordinator === undefined ? {} : { coordinator: coordinator.url }),
    ...(heartbeat === undefined ? {} : { heartbeat: `${heartbeat.url.origin}, every ${heartbeat.intervalMs} ms` }),
    secret: secret === undefined ? 'none' : 'set',
    ...(accessFile === undefined ? {} : { accessFile }),
    ...(tokens === undefined ? {} : { tokens: 'set' }),
    ...(token === undefined ? {} : { token: 'set' }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(tls === undefined ? {} : describeTls(tls)),
  }
}

function describeTls(tls: TlsFiles): Record<string, string> {
  const { cert, key, ca, clients } = tls
  return { tlsCert: cert, tlsKey: key, ...(ca === undefined ? {} : { tlsCa: ca }), tlsClients: clients }
}

/** A witness has none of these, whatever their defaults are. */
function withoutData<T extends object>(options: T): Partial<T> {
  const names = new Set<string>(optionsOfData)
  return Object.fromEntries(Object.entries(options).filter(([key]) => !names.has(key))) as Partial<T>
}
