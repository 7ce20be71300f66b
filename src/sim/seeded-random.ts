import { createHash } from 'node:crypto'
import type { Random } from '../ports/random.js'

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** A stream of numbers that follows from its seed alone (sfc32, by C. Doty-Humphrey). */
export class SeededRandom implements Random {
  private a: number
  private b: number
  private c: number
  private count = 1

  constructor(seed: string) {
    const digest = createHash('sha256').update(seed).digest()
    this.a = digest.readInt32LE(0)
    this.b = digest.readInt32LE(4)
    this.c = digest.readInt32LE(8)
    for (let round = 0; round < 12; round++) this.word()
  }

  private word(): number {
    const sum = (this.a + this.b + this.count) | 0
    this.count = (this.count + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum
    this.c |= 0
    return sum >>> 0
  }

  next(): number {
    return this.word() / 2 ** 32
  }

  hex(count: number): string {
    let text = ''
    while (text.length < 2 * count) {
      const word = this.word()
      text += hexOfByte[word >>> 24]! + hexOfByte[(word >>> 16) & 0xff]! + hexOfByte[(word >>> 8) & 0xff]!
      text += hexOfByte[word & 0xff]!
    }
    return text.slice(0, 2 * count)
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  /** Most are near `from`, few near `to`: as times are that vary over orders of magnitude. */
  skewed(from: number, to: number): number {
    return from * (to / from) ** this.next()
  }
}

/** One stream per purpose: a draw more in one place changes nothing in the others. */
export class SeededStreams {
  private readonly seed: number

  constructor(seed: number) {
    this.seed = seed
  }

  of(purpose: string): SeededRandom {
    return new SeededRandom(`${this.seed}/${purpose}`)
  }
}
