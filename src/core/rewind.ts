import type { Operation } from './entry.js'
import { limits } from './limits.js'

export interface TouchedRange {
  readonly start: Uint8Array
  readonly end: Uint8Array
}

export interface TouchedFamily {
  readonly keys: readonly Uint8Array[]
  readonly ranges: readonly TouchedRange[]
}

/**
 * What the entries of a tail may have changed: whatever is not in here is the same with and without them. A rewind
 * takes exactly these keys and ranges from another history (B3).
 */
export class TouchedKeys {
  private readonly keys = new Map<number, Map<string, Uint8Array>>()
  private readonly ranges = new Map<number, TouchedRange[]>()
  private keyCount = 0
  private keyBytes = 0
  private rangeCount = 0
  private refused: string | undefined

  add(operation: Operation): void {
    switch (operation.type) {
      case 'put':
      case 'del':
        this.addKey(operation.family, operation.key)
        return
      case 'delRange':
        if (compareBytes(operation.start, operation.end) < 0) this.addRange(operation)
        return
      case 'createFamily':
      case 'dropFamily':
        // Its id may be given to another family, or its keys are gone for good: neither is undone key by key (S8).
        this.refused ??= `a column family was ${operation.type === 'createFamily' ? 'created' : 'dropped'} in them`
    }
  }

  /** Why these entries are not undone key by key; undefined if they can be. */
  get obstacle(): string | undefined {
    if (this.refused !== undefined) return this.refused
    if (this.keyCount > limits.rewindKeysMax) return `they touch more than ${limits.rewindKeysMax} keys`
    if (this.keyBytes > limits.rewindBytesMax) return `their keys have more than ${limits.rewindBytesMax} bytes`
    if (this.rangeCount > limits.rewindRangesMax) return `they delete more than ${limits.rewindRangesMax} ranges`
    return undefined
  }

  get families(): ReadonlyMap<number, TouchedFamily> {
    const families = new Map<number, TouchedFamily>()
    for (const family of new Set([...this.keys.keys(), ...this.ranges.keys()])) {
      families.set(family, {
        keys: [...(this.keys.get(family)?.values() ?? [])],
        ranges: this.ranges.get(family) ?? [],
      })
    }
    return families
  }

  private addKey(family: number, key: Uint8Array): void {
    if (this.obstacle !== undefined) return
    const keys = this.keys.get(family) ?? new Map<string, Uint8Array>()
    this.keys.set(family, keys)
    const name = nameOfKey(key)
    if (keys.has(name)) return
    // A copy: what a block holds are views, and each would keep the whole block alive.
    keys.set(name, new Uint8Array(key))
    this.keyCount += 1
    this.keyBytes += key.length
  }

  private addRange(operation: Operation & { readonly type: 'delRange' }): void {
    if (this.obstacle !== undefined) return
    const ranges = this.ranges.get(operation.family) ?? []
    this.ranges.set(operation.family, ranges)
    ranges.push({ start: new Uint8Array(operation.start), end: new Uint8Array(operation.end) })
    this.rangeCount += 1
  }
}

/** The same text for the same bytes only. */
export function nameOfKey(key: Uint8Array): string {
  let name = ''
  for (const byte of key) name += String.fromCharCode(byte)
  return name
}

/** Order of unsigned bytes, as engines have it. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    if (a[index] !== b[index]) return a[index]! - b[index]!
  }
  return a.length - b.length
}
