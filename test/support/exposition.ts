export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Exposition {
  readonly types: ReadonlyMap<string, string>
  readonly helps: ReadonlyMap<string, string>
  readonly samples: Sample[]
}

const nameRule = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/

/** Reads the text format of Prometheus, strictly: what a line may not be is an error. */
export function parseExposition(text: string): Exposition {
  const types = new Map<string, string>()
  const helps = new Map<string, string>()
  const samples: Sample[] = []
  const seen = new Set<string>()
  for (const line of text.split('\n')) {
    if (line === '') continue
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    if (comment !== null) {
      const [, kind, name, rest] = comment
      const map = kind === 'HELP' ? helps : types
      if (map.has(name!)) throw new Error(`${kind} of ${name} twice`)
      map.set(name!, rest!)
      continue
    }
    const match = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (match === null || !nameRule.test(match[1]!)) throw new Error(`no sample: ${line}`)
    const [, name, labelText = '', valueText] = match
    const labels: Record<string, string> = {}
    const rest = labelText.replaceAll(/([a-z_]+)="((?:[^"\\]|\\.)*)",?/g, (_all, key: string, value: string) => {
      labels[key] = value.replaceAll(/\\(.)/g, (_escape, one: string) => (one === 'n' ? '\n' : one))
      return ''
    })
    if (rest !== '') throw new Error(`labels that cannot be read: ${line}`)
    const value = valueText === '+Inf' ? Number.POSITIVE_INFINITY : Number(valueText)
    if (Number.isNaN(value)) throw new Error(`no number: ${line}`)
    const identity = `${name}{${JSON.stringify(Object.entries(labels).sort())}`
    if (seen.has(identity)) throw new Error(`twice: ${line}`)
    seen.add(identity)
    const family = name!.replace(/_(bucket|sum|count)$/, '')
    if (!types.has(name!) && types.get(family) !== 'histogram') throw new Error(`without a type: ${line}`)
    samples.push({ name: name!, labels, value })
  }
  return { types, helps, samples }
}
