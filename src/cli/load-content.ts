/** Keys and values of a load: both follow from their numbers, so that every byte can be checked when read back. */
import { createHash } from 'node:crypto'

export const keyPrefix = 'load/'
const counterPrefix = `${keyPrefix}counter/`
const uniquePrefix = `${keyPrefix}key/`
const digits = 10

export function keyName(key: number): string {
  return `${uniquePrefix}${String(key).padStart(digits, '0')}`
}

export function counterName(counter: number): string {
  return `${counterPrefix}${String(counter).padStart(digits, '0')}`
}

export type LoadKey =
  | { readonly type: 'key'; readonly number: number }
  | { readonly type: 'counter'; readonly number: number }
  | undefined

export function parseKeyName(name: string): LoadKey {
  const type = name.startsWith(uniquePrefix) ? 'key' : name.startsWith(counterPrefix) ? 'counter' : undefined
  if (type === undefined) return undefined
  const text = name.slice((type === 'key' ? uniquePrefix : counterPrefix).length)
  return /^\d{10}$/.test(text) ? { type, number: Number(text) } : undefined
}

/** Text that does not compress much, from which values are cut. */
const filler = makeFiller()

function makeFiller(): string {
  let text = ''
  let block = Buffer.from('understudy')
  while (text.length < 64 * 1024) {
    block = createHash('sha256').update(block).digest()
    text += block.toString('base64url')
  }
  return text
}

export function valueText(number: number, version: number, bytes: number): string {
  const head = `${number}:${version}:`
  const length = Math.max(0, bytes - head.length)
  const start = (number * 131 + version * 17) % 32_749
  if (start + length <= filler.length) return head + filler.slice(start, start + length)
  return head + (filler.slice(start) + filler.repeat(Math.ceil(length / filler.length))).slice(0, length)
}

export function versionOf(value: string): number {
  return Number(/^\d+:(\d+):/.exec(value)?.[1] ?? Number.NaN)
}
