import { InvalidArgumentError } from 'commander'

const units: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** A size from `min` on: bytes, or a number with KiB, MiB or GiB. */
export function sizeParser(min: number): (text: string) => number {
  return (text) => {
    const match = /^(\d{1,12})\s?([KMG]iB)?$/.exec(text)
    const size = match === null ? Number.NaN : Number(match[1]) * units[match[2] ?? '']!
    if (Number.isSafeInteger(size) && size >= min) return size
    throw new InvalidArgumentError(`is no size of at least ${min} bytes: a number, or like 64MiB`)
  }
}

export function countParser(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (count >= min && count <= max) return count
    throw new InvalidArgumentError(`must be an integer from ${min} to ${max}`)
  }
}
