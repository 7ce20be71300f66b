/** Options from a TOML file, the environment and flags, the later ones winning, each with where it came from. */
import { readFileSync, statSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { limits } from '../core/limits.js'
import { closest } from './closest.js'
import { commandVariables, flagOf, type OptionEntry, optionTable, variableOf } from './option-table.js'
import type { ConfigProblem } from './problem.js'

export interface ConfigSources {
  /** A file that must exist. */
  readonly file?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** By option key, as text; `true` for a flag without a value. */
  readonly flags?: Readonly<Record<string, string | boolean | undefined>>
}

export interface Origin {
  readonly source: string
  readonly line?: number
}

const spellings: ReadonlyMap<string, string> = new Map([
  ['secret', 'secretFile'],
  ['secretFile', 'secret'],
  ['token', 'tokenFile'],
  ['tokenFile', 'token'],
])

export interface MergedSources {
  readonly values: Record<string, unknown>
  readonly origins: ReadonlyMap<string, Origin>
  readonly problems: readonly ConfigProblem[]
}

export function mergeSources(sources: ConfigSources): MergedSources {
  const values: Record<string, unknown> = {}
  const origins = new Map<string, Origin>()
  const problems: ConfigProblem[] = []
  const set = (key: string, value: unknown, origin: Origin): void => {
    // A secret and a file with a secret are one option with two spellings: the later source decides.
    const other = spellings.get(key)
    if (other !== undefined && origins.get(other) !== undefined && origins.get(other)?.source !== origin.source) {
      const fromEnvironment = origins.get(other)?.source.startsWith('UNDERSTUDY_') ?? false
      if (!(fromEnvironment && origin.source.startsWith('UNDERSTUDY_'))) {
        delete values[other]
        origins.delete(other)
      }
    }
    values[key] = value
    origins.set(key, origin)
  }
  if (sources.file !== undefined) readFile(sources.file, set, problems)
  readEnvironment(sources.env ?? {}, set, problems)
  for (const entry of optionTable) {
    const value = sources.flags?.[entry.key]
    if (value !== undefined) set(entry.key, fromText(entry, value), { source: flagOf(entry.key) })
  }
  return { values, origins, problems }
}

type SetOption = (key: string, value: unknown, origin: Origin) => void

function readFile(file: string, set: SetOption, problems: ConfigProblem[]): void {
  let text: string
  try {
    const { size } = statSync(file)
    if (size > limits.configFileBytesMax) {
      problems.push({ path: '', message: `${size} bytes; at most ${limits.configFileBytesMax}`, source: file })
      return
    }
    text = readFileSync(file, 'utf8')
  } catch (error) {
    problems.push({ path: '', message: `cannot be read: ${(error as Error).message}`, source: file })
    return
  }
  let table: Record<string, unknown>
  try {
    table = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const message = error.message.split('\n')[0]!.replace('Invalid TOML document: ', 'is not TOML: ')
    problems.push({ path: '', message, source: file, line: error.line })
    return
  }
  const lines = text.split('\n')
  for (const [key, value] of Object.entries(table)) {
    const line = lineOf(key, lines)
    set(key, value, { source: file, ...(line === undefined ? {} : { line }) })
  }
}

function lineOf(key: string, lines: readonly string[]): number | undefined {
  const starts = [key, `"${key}"`, `'${key}'`, `[${key}`, `[[${key}`]
  const index = lines.findIndex((line) => {
    const trimmed = line.trimStart()
    return starts.some((start) => trimmed.startsWith(start) && /^[\s=.\]]/.test(trimmed.slice(start.length)))
  })
  return index === -1 ? undefined : index + 1
}

/** What Kubernetes sets in every container beside a service that is named "understudy". */
const injected = /^UNDERSTUDY_(.+_)?(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$/

function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  set: SetOption,
  problems: ConfigProblem[],
): void {
  const byVariable = new Map(optionTable.map((entry) => [variableOf(entry.key), entry]))
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith('UNDERSTUDY_') || value === undefined) continue
    const entry = byVariable.get(variable)
    if (entry !== undefined) set(entry.key, fromText(entry, value), { source: variable })
    else if (!(commandVariables as readonly string[]).includes(variable) && !injected.test(variable)) {
      const meant = closest(variable, [...byVariable.keys(), ...commandVariables])
      problems.push({
        path: variable,
        message: 'is no environment variable of this release',
        ...(meant === undefined ? {} : { suggestion: `did you mean ${meant}?` }),
      })
    }
  }
}

/** Text as the option's type where it can be read so; what cannot is left for the schema to refuse. */
function fromText(entry: OptionEntry, text: string | boolean): unknown {
  if (typeof text === 'boolean') return text
  if (entry.kind === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (entry.kind === 'flag') {
    if (text === 'true' || text === '1') return true
    if (text === 'false' || text === '0') return false
  }
  return text
}
