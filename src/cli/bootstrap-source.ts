import { tokenToShow } from '../access/credential-files.js'
import { checkConfig } from '../config/check-config.js'
import type { NodeOptions } from '../config/node-options.js'
import type { OptionKey } from '../config/option-table.js'
import { ConfigError } from '../config/problem.js'
import { type ConfigSources, mergeSources } from '../config/sources.js'
import { UnderstudyError } from '../errors.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { NodeStatus } from '../runtime/handle.js'
import { clientSecret, clientTls, withScheme } from './client-flags.js'
import { askStatus, type NodeAddress } from './node-client.js'
import { configSources, defaultListen, type Flags } from './node-flags.js'

export interface BootstrapPlan {
  readonly options: NodeOptions
  readonly source: MemberAddress
  /** Names of all nodes of the cluster, as the source knows it. */
  readonly members: readonly string[]
}

type Facts = Pick<NodeStatus, 'cluster'> & {
  readonly members: readonly MemberAddress[]
  readonly settings: { readonly durability: string; readonly inSyncMin: number } | undefined
}

/** Options that a source may say: only what the operator did not. */
const adopted: ReadonlySet<string> = new Set([
  'cluster',
  'coordinator',
  'durability',
  'inSyncMin',
  'listen',
  'advertise',
])

/** The options of the node to be built, with what only the cluster knows taken from the source. */
export async function planBootstrap(flags: Flags, url: string): Promise<BootstrapPlan> {
  const address = replicationAddress(url)
  const sources = configSources(flags)
  // What the source cannot say is checked before anybody is asked.
  const placeholder = { cluster: 'placeholder', members: [{ node: 'placeholder', address }], settings: undefined }
  const { problems } = checkConfig(adopt(sources, placeholder))
  const own = problems.filter((problem) => !adopted.has(problem.path))
  if (own.length > 0) throw new ConfigError(own)

  const { values } = mergeSources(sources)
  checkScheme(url, values.tlsCert !== undefined)
  const status = await askStatus(sourceAddress(address, url, values))
  const source = { node: status.node, address }
  const members = [source, ...status.members.map((member) => ({ node: member.node, address: member.address }))]
  const facts = { cluster: status.cluster, members, settings: status.shards[0]?.settings }
  const checked = checkConfig(adopt(sources, facts))
  const { options } = checked
  if (options === undefined) throw new ConfigError(checked.problems)
  // An offline bootstrap knows the nodes from its source; another coordinator is asked when the node is started.
  const given = options.coordinator?.kind === 'static' ? options.coordinator : undefined
  const configured = (given?.members ?? []).filter((member) => member.node !== source.node)
  const missing = members.filter((member) => !configured.some((one) => one.node === member.node))
  const all = [...configured, ...missing]
  return {
    source,
    members: members.map((member) => member.node),
    options: {
      ...options,
      coordinator: { kind: 'static', primary: undefined, url: '', ...given, members: all },
    },
  }
}

/** The source is asked with the credentials that the node to be built will have. */
function sourceAddress(address: string, url: string, values: Readonly<Record<string, unknown>>): NodeAddress {
  const text = (key: OptionKey): string | undefined => values[key] as string | undefined
  const tls = clientTls({ ca: text('tlsCa'), cert: text('tlsCert'), key: text('tlsKey') })
  const secret = text('secret') ?? (text('secretFile') === undefined ? undefined : clientSecret(text('secretFile')))
  const token = tokenToShow({
    accessFile: text('accessFile'),
    tokens: text('tokens'),
    token: text('token'),
    tokenFile: text('tokenFile'),
  })
  return {
    url: url.includes('://') ? url : withScheme(address, tls !== undefined),
    secret: secret ?? token,
    ...(tls === undefined ? {} : { tls }),
  }
}

function adopt(sources: ConfigSources, facts: Facts): ConfigSources {
  const { values } = mergeSources(sources)
  const flags: Record<string, string | boolean | undefined> = { ...sources.flags }
  const given = (key: string): boolean => values[key] !== undefined
  if (!given('cluster')) flags.cluster = facts.cluster
  if (!given('coordinator')) {
    flags.coordinator = `static://${facts.members.map(({ node, address }) => `${node}=${address}`).join(',')}`
  }
  if (!given('durability') && !given('inSyncMin') && facts.settings !== undefined) {
    flags.durability = facts.settings.durability
    flags.inSyncMin = String(facts.settings.inSyncMin)
  }
  // Nothing listens while the directory is built; `serve` asks for the address when it does.
  const own = facts.members.find((member) => member.node === values.node)
  if (!given('listen') && own === undefined) flags.listen = defaultListen
  else if (!given('listen')) {
    flags.listen = '127.0.0.1:0'
    if (!given('advertise')) flags.advertise = own!.address
  }
  return { ...sources, flags }
}

/** Replication speaks to the source as it speaks to all nodes: what the URL says has to agree. */
function checkScheme(url: string, hasTls: boolean): void {
  if (!url.includes('://') || url.startsWith('https:') === hasTls) return
  throw new UnderstudyError(
    'BAD_REQUEST',
    hasTls
      ? `--from ${url}: this node has tlsCert, and replication is plain text there`
      : `--from ${url}: replication with TLS needs tlsCert and tlsKey of this node`,
    { hint: 'either all nodes of a cluster have tlsCert or none has' },
  )
}

function replicationAddress(url: string): string {
  if (!url.includes('://')) return url
  const { protocol, host, port, hostname, pathname } = new URL(url)
  if (pathname !== '/') {
    throw new UnderstudyError('BAD_REQUEST', `--from ${url}: replication needs the node's own port`, {
      hint: `give its address, for example --from ${hostname}:7400`,
    })
  }
  return port === '' ? `${host}:${protocol === 'https:' ? 443 : 80}` : host
}
