import { type Address, formatAddress } from '../core/address.js'
import type { Durability } from '../core/record.js'
import type { EngineKind } from '../ports/engine.js'
import type { CoordinatorOptions } from './coordinator.js'
import { optionsOfData } from './option-table.js'
import type { LogLevel } from './schema.js'

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
}

/** For people and logs: the secret is not in it, nor the path of the heartbeat, which is one with most services. */
export function describeOptions(options: NodeOptions): Record<string, string | number | boolean> {
  const { listen, coordinator, secret, advertise, bootstrapMaxRate, heartbeat, ...rest } = options
  return {
    ...(options.witness ? withoutData(rest) : rest),
    ...(listen === undefined ? {} : { listen: formatAddress(listen) }),
    ...(advertise === undefined ? {} : { advertise }),
    ...(bootstrapMaxRate === undefined ? {} : { bootstrapMaxRate }),
    ...(coordinator === undefined ? {} : { coordinator: coordinator.url }),
    ...(heartbeat === undefined ? {} : { heartbeat: `${heartbeat.url.origin}, every ${heartbeat.intervalMs} ms` }),
    secret: secret === undefined ? 'none' : 'set',
  }
}

/** A witness has none of these, whatever their defaults are. */
function withoutData<T extends object>(options: T): Partial<T> {
  const names = new Set<string>(optionsOfData)
  return Object.fromEntries(Object.entries(options).filter(([key]) => !names.has(key))) as Partial<T>
}
