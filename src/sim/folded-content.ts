/** The content of one history at each of its positions: written apart from the engines, to hold them against it. */
import { defaultFamily, type Operation } from '../core/entry.js'
import type { EngineReader } from '../runtime/handle.js'
import type { Found } from './fold.js'

interface Version {
  readonly sequence: number
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined
}

interface FamilyLife {
  readonly name: string
  readonly created: number
  dropped: number | undefined
  /** By the key's bytes as Latin-1; oldest first. */
  readonly keys: Map<string, Version[]>
}

const never = Number.POSITIVE_INFINITY

export class FoldedContent {
  private readonly families = new Map<number, FamilyLife>()

  constructor() {
    this.families.set(defaultFamily.id, { name: defaultFamily.name, created: 0, dropped: undefined, keys: new Map() })
  }

  /** Returns what is wrong with it, if something is. */
  fold(sequence: number, operation: Operation): string | undefined {
    const known = this.families.get(operation.family)
    switch (operation.type) {
      case 'createFamily': {
        const { family: id, name } = operation
        if (known !== undefined)
          return known.name === name
            ? undefined
            : `family ${id} is ${name}, and was ${known.name}: ids are never reused`
        // An id that was handed out and never committed is skipped; the next is above it all the same.
        if (id < this.idNextAt(sequence)) return `family ${id} is created after ${this.idNextAt(sequence) - 1}`
        const twin = [...this.families].find(([, life]) => life.name === name && life.dropped === undefined)
        this.families.set(id, { name, created: sequence, dropped: undefined, keys: new Map() })
        return twin === undefined ? undefined : `families ${twin[0]} and ${id} are both called ${name}`
      }
      case 'dropFamily':
        if (known !== undefined) known.dropped ??= sequence
        return undefined
      case 'put':
        if (isThere(known, sequence)) this.set(known!, asText(operation.key), { sequence, value: operation.value })
        return undefined
      case 'del':
        if (isThere(known, sequence)) this.set(known!, asText(operation.key), { sequence, value: undefined })
        return undefined
      case 'delRange': {
        if (!isThere(known, sequence)) return undefined
        const [start, end] = [asText(operation.start), asText(operation.end)]
        for (const key of known!.keys.keys())
          if (key >= start && key < end) this.set(known!, key, { sequence, value: undefined })
        return undefined
      }
    }
  }

  private set(life: FamilyLife, key: string, version: Version): void {
    const versions = life.keys.get(key)
    if (versions === undefined) life.keys.set(key, [version])
    else versions.push(version)
  }

  valueAt(sequence: number, family: number, key: Uint8Array): Found {
    const life = this.families.get(family)
    if (!isThere(life, sequence)) return { type: 'no family' }
    return { type: 'value', value: versionAt(life!.keys.get(asText(key)), sequence)?.value }
  }

  /** Now. */
  family(id: number): { readonly name: string; readonly dropped: boolean } | undefined {
    const life = this.families.get(id)
    return life && { name: life.name, dropped: life.dropped !== undefined }
  }

  /** One line for the families' ids, one for each family, one for each entry. */
  describe(sequence: number): readonly string[] {
    const lines = [`next id ${this.idNextAt(sequence)}`]
    for (const [id, life] of [...this.families].sort(([a], [b]) => a - b)) {
      if (!isThere(life, sequence)) continue
      lines.push(`family ${id} ${life.name}`)
      for (const key of [...life.keys.keys()].sort()) {
        const value = versionAt(life.keys.get(key), sequence)?.value
        if (value !== undefined) lines.push(lineOf(id, key, value))
      }
    }
    return lines
  }

  private idNextAt(sequence: number): number {
    let highest = 0
    for (const [id, { created }] of this.families) if (created <= sequence) highest = Math.max(highest, id)
    return highest + 1
  }
}

/** An engine in the same words as `FoldedContent.describe`, and the position that they are of. */
export async function describeEngine(
  reader: EngineReader,
): Promise<{ readonly chain: string; readonly sequence: number; readonly lines: readonly string[] }> {
  const snapshot = reader.snapshot()
  const { position, families, familyIdNext } = snapshot
  const lines = [`next id ${familyIdNext}`]
  // In which order an engine lists them is its own affair.
  for (const { id, name } of [...families].sort((a, b) => a.id - b.id)) {
    lines.push(`family ${id} ${name}`)
    const iterator = reader.scan(id, { snapshot })
    for (;;) {
      const entries = await iterator.next(1_000)
      if (entries.length === 0) break
      for (const [key, value] of entries) lines.push(lineOf(id, asText(key), value))
    }
    await iterator.close()
  }
  await snapshot.close()
  return { chain: position.chain, sequence: position.sequence, lines }
}

function lineOf(family: number, key: string, value: Uint8Array): string {
  return `${family} ${key} = ${asText(value)}`
}

/** Sorts as the bytes do. */
function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function isThere(life: FamilyLife | undefined, sequence: number): boolean {
  return life !== undefined && life.created <= sequence && sequence < (life.dropped ?? never)
}

function versionAt(versions: readonly Version[] | undefined, sequence: number): Version | undefined {
  if (versions === undefined) return undefined
  for (let index = versions.length - 1; index >= 0; index--) {
    if (versions[index]!.sequence <= sequence) return versions[index]
  }
  return undefined
}
