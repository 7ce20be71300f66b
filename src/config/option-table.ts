/**
 * Every option of a node, once: its key in understudy.toml and in the library, its environment variable, its flag.
 * What is listed here is known everywhere; the schema gives each its type and bounds.
 */
export interface OptionEntry {
  readonly key: string
  /** How text from the environment or from a flag is read. */
  readonly kind: 'text' | 'integer' | 'bytes' | 'flag'
  /** Placeholder in `--help`. */
  readonly value?: string
  readonly description: string
  /** False for what must not stand on a command line, where every process of the machine can read it. */
  readonly flag: boolean
}

const entries = [
  { key: 'data', kind: 'text', value: 'DIR', description: 'data directory', flag: true },
  { key: 'cluster', kind: 'text', value: 'NAME', description: 'name of the cluster', flag: true },
  { key: 'node', kind: 'text', value: 'NAME', description: 'name of this node, unique in the cluster', flag: true },
  { key: 'listen', kind: 'text', value: 'HOST:PORT', description: 'address for HTTP and replication', flag: true },
  {
    key: 'advertise',
    kind: 'text',
    value: 'HOST:PORT',
    description: 'address under which other nodes reach this one (default: that in the coordinator, or listen)',
    flag: true,
  },
  {
    key: 'coordinator',
    kind: 'text',
    value: 'URL',
    description:
      'the nodes: static://a=HOST:PORT,b=HOST:PORT?primary=a; or who keeps the record: builtin://w=HOST:PORT',
    flag: true,
  },
  {
    key: 'witness',
    kind: 'flag',
    description: 'run the voter that builtin:// names and nothing else: no data, no role',
    flag: true,
  },
  {
    key: 'durability',
    kind: 'text',
    value: 'RULE',
    description: 'local | standby: what an acknowledged write rests on',
    flag: true,
  },
  {
    key: 'inSyncMin',
    kind: 'integer',
    value: 'N',
    description: 'nodes, this one included, that hold a write before it is acknowledged',
    flag: true,
  },
  {
    key: 'failoverMs',
    kind: 'integer',
    value: 'MS',
    description: 'how long a silent primary keeps its place; leases and heartbeats follow from it',
    flag: true,
  },
  {
    key: 'inSyncTimeoutMs',
    kind: 'integer',
    value: 'MS',
    description: 'a standby that is away or behind for so long leaves the in-sync set (default: failoverMs)',
    flag: true,
  },
  {
    key: 'engine',
    kind: 'text',
    value: 'KIND',
    description: 'level | rocksdb | memory; fixed for a directory',
    flag: true,
  },
  { key: 'secret', kind: 'text', description: 'secret shared by nodes, operators and clients', flag: false },
  { key: 'secretFile', kind: 'text', value: 'FILE', description: 'file that holds the secret', flag: true },
  {
    key: 'accessFile',
    kind: 'text',
    value: 'FILE',
    description: 'tokens and client certificates with their scopes, in TOML; read anew when it changes',
    flag: true,
  },
  { key: 'tokens', kind: 'text', description: 'tokens with their scopes: SCOPE,SCOPE:TOKEN SCOPE:TOKEN', flag: false },
  { key: 'token', kind: 'text', description: 'the token that this node shows to other nodes', flag: false },
  {
    key: 'tokenFile',
    kind: 'text',
    value: 'FILE',
    description: 'file with the token that this node shows to other nodes',
    flag: true,
  },
  {
    key: 'tlsCert',
    kind: 'text',
    value: 'FILE',
    description: 'certificate of this node in PEM, intermediates behind it; read anew when it changes',
    flag: true,
  },
  { key: 'tlsKey', kind: 'text', value: 'FILE', description: 'private key of the certificate in PEM', flag: true },
  {
    key: 'tlsCa',
    kind: 'text',
    value: 'FILE',
    description: 'authority that signed the certificates of other nodes and of clients, in PEM',
    flag: true,
  },
  {
    key: 'tlsClients',
    kind: 'text',
    value: 'RULE',
    description: 'none | optional | required: certificates of clients (default: optional with tlsCa)',
    flag: true,
  },
  {
    key: 'insecure',
    kind: 'flag',
    description: 'listen beyond this machine without credentials: anybody may read and write',
    flag: true,
  },
  {
    key: 'heartbeatUrl',
    kind: 'text',
    description: "called as long as replication is healthy: a dead-man's switch",
    flag: false,
  },
  {
    key: 'heartbeatIntervalMs',
    kind: 'integer',
    value: 'MS',
    description: 'how often heartbeatUrl is called',
    flag: true,
  },
  { key: 'logLevel', kind: 'text', value: 'LEVEL', description: 'debug | info | warn | error | silent', flag: true },
  {
    key: 'writeTimeoutMs',
    kind: 'integer',
    value: 'MS',
    description: 'a write that is not committed by then fails with outcome unknown',
    flag: true,
  },
  { key: 'segmentBytes', kind: 'bytes', value: 'SIZE', description: 'size of a journal file', flag: true },
  {
    key: 'slotRetainBytes',
    kind: 'bytes',
    value: 'SIZE',
    description: 'journal kept at most for a standby that is behind or away',
    flag: true,
  },
  {
    key: 'checkpointBytes',
    kind: 'bytes',
    value: 'SIZE',
    description: 'journal between two checkpoints: the bound of what a restart replays',
    flag: true,
  },
  {
    key: 'rocksdbCacheBytes',
    kind: 'bytes',
    value: 'SIZE',
    description: 'block cache of engine rocksdb, shared by all families',
    flag: true,
  },
  {
    key: 'rocksdbCompression',
    kind: 'text',
    value: 'KIND',
    description: 'lz4 | snappy | zstd | none: how engine rocksdb compresses what it writes from now on',
    flag: true,
  },
  {
    key: 'bootstrapMaxRate',
    kind: 'bytes',
    value: 'SIZE',
    description: 'bytes per second that a bootstrap of this node takes at most (default: no limit)',
    flag: true,
  },
  {
    key: 'bootstrapSourceMaxRate',
    kind: 'bytes',
    value: 'SIZE',
    description: 'bytes per second that this node sends at most to all it helps to build (default: no limit)',
    flag: true,
  },
  {
    key: 'bootstrapMethod',
    kind: 'text',
    value: 'METHOD',
    description: "auto | range-chunks: whether the engine's files are copied where both sides can",
    flag: true,
  },
] as const satisfies readonly OptionEntry[]

export type OptionKey = (typeof entries)[number]['key']

export const optionTable: ReadonlyArray<OptionEntry & { readonly key: OptionKey }> = entries

/** Options about data, which a witness does not hold. */
export const optionsOfData = [
  'durability',
  'inSyncMin',
  'failoverMs',
  'inSyncTimeoutMs',
  'engine',
  'writeTimeoutMs',
  'segmentBytes',
  'slotRetainBytes',
  'checkpointBytes',
  'rocksdbCacheBytes',
  'rocksdbCompression',
  'bootstrapMaxRate',
  'bootstrapSourceMaxRate',
  'bootstrapMethod',
] as const satisfies readonly OptionKey[]

/** Not options of a node, but read from the environment by commands. */
export const commandVariables = [
  'UNDERSTUDY_CONFIG',
  'UNDERSTUDY_URL',
  // Of the addon: at its installation, and where it is found.
  'UNDERSTUDY_ROCKSDB',
  'UNDERSTUDY_ROCKSDB_ADDON',
] as const

/** inSyncMin -> UNDERSTUDY_IN_SYNC_MIN */
export function variableOf(key: string): string {
  return `UNDERSTUDY_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** inSyncMin -> --in-sync-min */
export function flagOf(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}
