import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { checkConfig } from '../config/check-config.js'
import type { NodeOptions } from '../config/node-options.js'
import { flagOf, type OptionKey, optionTable, variableOf } from '../config/option-table.js'
import { ConfigError } from '../config/problem.js'
import { type ConfigSources, mergeSources } from '../config/sources.js'

export type Flags = Readonly<Record<string, string | boolean | undefined>>

export const defaultFile = 'understudy.toml'
/** Where a node listens that was told nothing else; commands ask there too. */
export const defaultListen = '127.0.0.1:7400'

/** All options of a node as flags, `--config`, and what the environment may hold. */
export function addNodeFlags(command: Command): Command {
  command.addOption(
    new Option('--config <FILE>', 'configuration in TOML; flags win over variables, those over the file'),
  )
  for (const entry of optionTable) {
    if (!entry.flag) continue
    const value = entry.kind === 'flag' ? '' : ` <${'value' in entry ? entry.value : 'VALUE'}>`
    command.addOption(new Option(`${flagOf(entry.key)}${value}`, entry.description))
  }
  const hidden = optionTable.filter((entry) => !entry.flag).map((entry) => variableOf(entry.key))
  return command.addHelpText(
    'after',
    `
Every flag is also a key of the file (--in-sync-min: inSyncMin) and an environment
variable (UNDERSTUDY_IN_SYNC_MIN; UNDERSTUDY_CONFIG names the file). Not a flag,
because every process could read it: ${hidden.join(', ')}.`,
  )
}

/** The sources of a node's configuration, without those flags of the command that are no options of a node. */
export function configSources(flags: Flags): ConfigSources {
  const { config } = flags
  const file = typeof config === 'string' ? config : process.env.UNDERSTUDY_CONFIG
  const known = new Set<string>(optionTable.map((entry) => entry.key))
  return {
    ...(file === undefined ? {} : { file }),
    env: process.env,
    flags: Object.fromEntries(Object.entries(flags).filter(([key]) => known.has(key))),
  }
}

/** Options for a node that is reached over its port. Throws all problems at once. */
export function servedOptions(flags: Flags): NodeOptions {
  let sources = configSources(flags)
  const given = mergeSources(sources)
  const has = (key: OptionKey): boolean => given.values[key] !== undefined
  if (!has('listen') && !has('coordinator')) {
    sources = { ...sources, flags: { ...sources.flags, listen: defaultListen } }
  }
  const { problems, options } = checkConfig(sources)
  if (options !== undefined) return options
  const isForgotten = sources.file === undefined && existsSync(defaultFile)
  throw new ConfigError(
    problems,
    isForgotten ? `./${defaultFile} was not read: pass --config ${defaultFile}` : undefined,
  )
}
