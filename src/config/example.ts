/** The commented example of a configuration, from the options as they are. */
import { limits } from '../core/limits.js'
import { resolveOptions } from './check-options.js'
import { flagOf, type OptionEntry, type OptionKey, optionTable, variableOf } from './option-table.js'
import { fields } from './schema.js'

/** What every node of a cluster has; the rest stands behind a `#`. */
const given: ReadonlySet<string> = new Set<OptionKey>(['data', 'cluster', 'node', 'listen'])

/** Values that say more than a default does. */
const samples: Readonly<Partial<Record<string, string | number | boolean>>> = {
  data: '/var/lib/understudy',
  cluster: 'shop',
  node: 'a',
  listen: '127.0.0.1:7400',
  advertise: 'a.internal:7400',
  coordinator: 'etcd://10.0.0.9:2379',
  durability: 'standby',
  inSyncMin: 2,
  bootstrapMaxRate: '50MiB',
  bootstrapSourceMaxRate: '100MiB',
  accessFile: '/etc/understudy/access.toml',
  tlsCert: '/etc/understudy/node.pem',
  tlsKey: '/etc/understudy/node.key',
  tlsCa: '/etc/understudy/ca.pem',
  rocksdbCacheBytes: '64MiB',
  heartbeatIntervalMs: limits.heartbeatIntervalMs,
}

const coordinators = [
  'coordinator = "builtin://w=10.0.0.8:7400"',
  'coordinator = "static://a=10.0.0.1:7400,b=10.0.0.2:7400?primary=a"',
]

export function exampleConfig(): string {
  const defaults = resolveOptions({ data: 'data' })
  const lines = [
    '# understudy.toml: the configuration of a node. Check it with: understudy config check FILE',
    '#',
    '# Every option is also an environment variable and a flag: flags win over variables, those over this',
    '# file. What stands behind a # is not set. docs/CONFIGURATION.md says more.',
    '',
  ]
  for (const entry of optionTable) lines.push(...optionLines(entry, defaults as unknown as Record<string, unknown>), '')
  return `${lines.join('\n').trimEnd()}\n`
}

function optionLines(entry: OptionEntry & { readonly key: OptionKey }, defaults: Record<string, unknown>): string[] {
  const { key, description, flag } = entry
  const lines = wrapped(`${upper(description)}.`)
  if (!flag) {
    const file = optionTable.some((other) => other.key === `${key}File`) ? `, or ${key}File` : ''
    return [...lines, ...wrapped(`Not in a file that others may read: ${variableOf(key)} in the environment${file}.`)]
  }
  const facts = [ruleOf(entry), defaultOf(entry, defaults)].filter((fact) => fact !== '').join(' ')
  if (facts !== '') lines.push(...wrapped(facts))
  lines.push(`# ${flagOf(key)}, ${variableOf(key)}`)
  lines.push(`${given.has(key) ? '' : '# '}${key} = ${tomlOf(sampleOf(entry, defaults))}`)
  if (key === 'coordinator') lines.push(...coordinators.map((line) => `# ${line}`))
  return lines
}

/** The schema's own words. */
function ruleOf({ key, kind }: OptionEntry & { readonly key: OptionKey }): string {
  const { error } = fields[key].safeParse(Symbol('no value'))
  const message = error?.issues[0]?.message ?? ''
  if (message === '' || message === 'must be text' || message === 'must be true or false') return ''
  const rule = kind === 'bytes' ? message.replaceAll(/\d{4,}/g, (digits) => sizeOf(Number(digits))) : message
  return `It ${rule.replace(' bytes, as a number or like 64MiB', ', in bytes or like 64MiB')}.`
}

function defaultOf({ key, kind }: OptionEntry, defaults: Record<string, unknown>): string {
  if (key === 'durability') return 'Default: standby with other nodes, local alone.'
  if (key === 'inSyncMin') return 'Default: 2 at durability standby, 1 at local.'
  const value = given.has(key) ? undefined : defaults[key]
  if (value === undefined || typeof value === 'object' || key === 'data') return ''
  return `Default: ${kind === 'bytes' ? sizeOf(Number(value)) : String(value)}.`
}

function sampleOf(entry: OptionEntry, defaults: Record<string, unknown>): string | number | boolean {
  const { key, kind, value, description } = entry
  const sample = samples[key]
  if (sample !== undefined) return sample
  const found = defaults[key]
  if (kind === 'bytes') return sizeOf(typeof found === 'number' ? found : limits.segmentBytes)
  if (typeof found === 'string' || typeof found === 'number' || typeof found === 'boolean') return found
  if (value === 'FILE')
    return `/etc/understudy/${flagOf(key)
      .slice(2)
      .replace(/-file$/, '')}`
  const choices = /^[\w-]+(?: \| [\w-]+)+/.exec(description)?.[0].split(' | ')
  return choices?.[0] ?? ''
}

function tomlOf(value: string | number | boolean): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

function sizeOf(bytes: number): string {
  const units = ['', 'KiB', 'MiB', 'GiB']
  let value = bytes
  let unit = 0
  while (value % 1024 === 0 && value > 0 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value}${units[unit]}`
}

function upper(text: string): string {
  // Names of values stay as they are written.
  return /^\S+ \|/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1)
}

function wrapped(text: string): string[] {
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > 100) {
      lines.push(line)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
