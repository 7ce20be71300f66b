/** Where `import` and `export` find a node: one that runs, or a data directory on this machine. */
import { type Command, Option } from 'commander'
import { checkConfig } from '../config/check-config.js'
import { type OptionKey, optionTable } from '../config/option-table.js'
import { ConfigError } from '../config/problem.js'
import type { OptionsInput } from '../config/schema.js'
import { mergeSources } from '../config/sources.js'
import { UnderstudyError } from '../errors.js'
import { addClientFlags, type ClientFlags, nodeAddress } from './client-flags.js'
import type { NodeAddress } from './node-client.js'
import { configSources, type Flags } from './node-flags.js'

export interface PlaceFlags extends ClientFlags {
  readonly config?: string
  readonly data?: string
  readonly cluster?: string
  readonly node?: string
  readonly engine?: string
}

export type Place =
  | { readonly type: 'node'; readonly address: NodeAddress }
  | { readonly type: 'directory'; readonly directory: string; readonly options: OptionsInput }

const ownFlags = ['data', 'cluster', 'node', 'engine'] as const satisfies readonly OptionKey[]

export function addPlaceFlags(command: Command): Command {
  addClientFlags(command).option('--config <FILE>', 'configuration in TOML of a node that runs alone')
  for (const entry of optionTable) {
    const { key, description } = entry
    if (!(ownFlags as readonly string[]).includes(key)) continue
    const what = key === 'data' ? 'data directory of a node that runs alone; it must not be running' : description
    command.addOption(new Option(`--${key} <${'value' in entry ? entry.value : 'VALUE'}>`, what))
  }
  return command
}

/** A flag decides; without one the environment does. */
export function placeOf(flags: PlaceFlags): Place {
  const namesDirectory = flags.data !== undefined || flags.config !== undefined
  if (flags.url !== undefined && namesDirectory) {
    throw new UnderstudyError('BAD_REQUEST', '--url and --data (or --config) exclude each other')
  }
  const { UNDERSTUDY_URL, UNDERSTUDY_DATA } = process.env
  if (flags.url !== undefined || (!namesDirectory && UNDERSTUDY_DATA === undefined && UNDERSTUDY_URL !== undefined)) {
    return { type: 'node', address: nodeAddress(flags) }
  }
  if (!namesDirectory && UNDERSTUDY_DATA === undefined) {
    throw new UnderstudyError('BAD_REQUEST', 'neither --url (a node that runs) nor --data (a directory) is given')
  }
  const sources = configSources(flags as Flags)
  const { problems, options } = checkConfig(sources)
  const { values } = mergeSources(sources)
  // Alone nobody needs a name; what a directory is told once it keeps.
  const optional = new Set(['node', 'cluster'])
  const wrong = problems.filter(({ path, message }) => !(optional.has(path) && message.startsWith('is missing')))
  if (wrong.length > 0) throw new ConfigError(wrong)
  if (options?.coordinator !== undefined) {
    throw new UnderstudyError('CONFIG', 'the configuration names other nodes: this directory is not used alone', {
      hint: 'start the nodes, and name the primary with --url',
    })
  }
  const { listen: _listen, advertise: _advertise, insecure: _insecure, ...alone } = values
  const input = Object.fromEntries(Object.entries(alone).filter(([key]) => aloneKeys.has(key)))
  return {
    type: 'directory',
    directory: String(values.data),
    options: { ...input, logLevel: 'silent' } as OptionsInput,
  }
}

/** What matters to a node without a port. */
const aloneKeys: ReadonlySet<string> = new Set<OptionKey>([
  'data',
  'cluster',
  'node',
  'engine',
  'durability',
  'inSyncMin',
  'failoverMs',
  'inSyncTimeoutMs',
  'segmentBytes',
  'checkpointBytes',
])
