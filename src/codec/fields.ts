/**
 * Small combinators for control payloads: one definition gives the encoder, the decoder and its bounds. Little-endian.
 * Decoders throw `PROTOCOL` and allocate nothing that a bound or the bytes at hand do not cover.
 */

import { invariant } from '../core/invariant.js'
import { UnderstudyError } from '../errors.js'
import { asBuffer, utf8At } from './bytes.js'

/** Messages are encoded one after another, and what comes out is a copy: most fit in here. */
const scratch = Buffer.allocUnsafeSlow(4_096)
/** Whose bytes are in it. */
let writing: FieldWriter | undefined

export class FieldWriter {
  private bytes = scratch
  private at = 0

  constructor() {
    writing = this
  }

  private room(count: number): number {
    const end = this.at + count
    if (end > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.bytes.length * 2))
      this.bytes.copy(larger, 0, 0, this.at)
      this.bytes = larger
    }
    const at = this.at
    this.at = end
    return at
  }

  u8(value: number): void {
    const at = this.room(1)
    this.bytes.writeUInt8(value, at)
  }

  u32(value: number): void {
    const at = this.room(4)
    this.bytes.writeUInt32LE(value, at)
  }

  raw(value: Uint8Array): void {
    const at = this.room(value.length)
    this.bytes.set(value, at)
  }

  utf8(value: string, count: number): void {
    const at = this.room(count)
    this.bytes.write(value, at, count)
  }

  /** False if these are not so many bytes as hexadecimal digits. */
  hex(value: string, count: number): boolean {
    if (value.length !== 2 * count) return false
    const at = this.room(count)
    return this.bytes.write(value, at, count, 'hex') === count
  }

  get offset(): number {
    return this.at
  }

  /** A copy of what was written from `offset` on. */
  copyFrom(offset: number): Uint8Array {
    const copy = Buffer.allocUnsafe(this.at - offset)
    this.bytes.copy(copy, 0, offset, this.at)
    return copy
  }

  finish(): Uint8Array {
    invariant(this.bytes !== scratch || writing === this, 'one message is encoded at a time')
    return this.copyFrom(0)
  }
}

export class FieldReader {
  private readonly bytes: Buffer
  private readonly what: string
  private at = 0

  constructor(bytes: Uint8Array, what: string) {
    this.bytes = asBuffer(bytes)
    this.what = what
  }

  fail(expected: string): never {
    throw new UnderstudyError(
      'PROTOCOL',
      `${this.what}: expected ${expected} at byte ${this.at} of ${this.bytes.length}`,
    )
  }

  raw(count: number): Buffer {
    if (this.at + count > this.bytes.length) this.fail(`${count} more bytes`)
    const part = this.bytes.subarray(this.at, this.at + count)
    this.at += count
    return part
  }

  private skip(count: number): number {
    const { at } = this
    if (at + count > this.bytes.length) this.fail(`${count} more bytes`)
    this.at = at + count
    return at
  }

  u8(): number {
    return this.bytes[this.skip(1)]!
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.skip(4))
  }

  /** Undefined if these bytes are not UTF-8. */
  utf8(count: number): string | undefined {
    const at = this.skip(count)
    return utf8At(this.bytes, at, at + count)
  }

  hex(count: number): string {
    const at = this.skip(count)
    return this.bytes.toString('hex', at, at + count)
  }

  rest(): Buffer {
    return this.raw(this.bytes.length - this.at)
  }

  get remaining(): number {
    return this.bytes.length - this.at
  }

  /** True, and beyond them, if these bytes come next. */
  take(bytes: Uint8Array): boolean {
    const { at } = this
    const end = at + bytes.length
    if (end > this.bytes.length || this.bytes.compare(bytes, 0, bytes.length, at, end) !== 0) return false
    this.at = end
    return true
  }

  get offset(): number {
    return this.at
  }

  /** A copy of what was read from `offset` on. */
  copyFrom(offset: number): Uint8Array {
    return Buffer.from(this.bytes.subarray(offset, this.at))
  }
}

/** A value on the wire. */
export interface Field<T> {
  write(writer: FieldWriter, value: T): void
  read(reader: FieldReader): T
}

export type FieldValue<F> = F extends Field<infer T> ? T : never

export const u32: Field<number> = {
  write: (writer, value) => writer.u32(value),
  read: (reader) => reader.u32(),
}

/** u64 that must be a safe integer. */
export const u64: Field<number> = {
  write(writer, value) {
    invariant(Number.isSafeInteger(value) && value >= 0, 'numbers of 64 bits are safe integers from 0')
    writer.u32(value % 0x1_0000_0000)
    writer.u32(Math.floor(value / 0x1_0000_0000))
  },
  read(reader) {
    const low = reader.u32()
    const value = low + reader.u32() * 0x1_0000_0000
    if (!Number.isSafeInteger(value)) reader.fail('a safe integer')
    return value
  },
}

export const flag: Field<boolean> = {
  write: (writer, value) => writer.u8(value ? 1 : 0),
  read(reader) {
    const value = reader.u8()
    if (value > 1) reader.fail('0 or 1')
    return value === 1
  },
}

/** UTF-8, at most `bytesMax` bytes. */
export function text(bytesMax: number): Field<string> {
  return {
    write(writer, value) {
      const count = Buffer.byteLength(value)
      if (count > bytesMax) throw new UnderstudyError('LIMIT_EXCEEDED', `text of ${count} bytes; at most ${bytesMax}`)
      writer.u32(count)
      writer.utf8(value, count)
    },
    read(reader) {
      const length = reader.u32()
      if (length > bytesMax) reader.fail(`text of at most ${bytesMax} bytes`)
      return reader.utf8(length) ?? reader.fail('UTF-8')
    },
  }
}

/** At most `bytesMax` bytes; decoded as a view. */
export function bytes(bytesMax: number): Field<Uint8Array> {
  return {
    write(writer, value) {
      if (value.length > bytesMax)
        throw new UnderstudyError('LIMIT_EXCEEDED', `${value.length} bytes; at most ${bytesMax}`)
      writer.u32(value.length)
      writer.raw(value)
    },
    read(reader) {
      const length = reader.u32()
      if (length > bytesMax) reader.fail(`at most ${bytesMax} bytes`)
      return reader.raw(length)
    },
  }
}

/** Exactly `count` bytes, in memory as hexadecimal digits. */
export function hex(count: number): Field<string> {
  return {
    write(writer, value) {
      if (!writer.hex(value, count))
        throw new UnderstudyError('PROTOCOL', `${value}: expected ${count} bytes as hexadecimal digits`)
    },
    read: (reader) => reader.hex(count),
  }
}

export function list<T>(item: Field<T>, countMax: number): Field<readonly T[]> {
  return {
    write(writer, value) {
      if (value.length > countMax)
        throw new UnderstudyError('LIMIT_EXCEEDED', `list of ${value.length}; at most ${countMax}`)
      writer.u32(value.length)
      for (const one of value) item.write(writer, one)
    },
    read(reader) {
      const count = reader.u32()
      if (count > countMax || count > reader.remaining) reader.fail(`a list of at most ${countMax}`)
      const items: T[] = []
      for (let index = 0; index < count; index++) items.push(item.read(reader))
      return items
    },
  }
}

export function optional<T>(item: Field<T>): Field<T | undefined> {
  return {
    write(writer, value) {
      writer.u8(value === undefined ? 0 : 1)
      if (value !== undefined) item.write(writer, value)
    },
    read: (reader) => (flag.read(reader) ? item.read(reader) : undefined),
  }
}

export function oneOf<const T extends string>(...values: readonly T[]): Field<T> {
  const expected = `one of ${values.join(', ')}`
  const mustHold = `${expected} is written`
  return {
    write(writer, value) {
      const index = values.indexOf(value)
      invariant(index >= 0, mustHold)
      writer.u8(index)
    },
    read: (reader) => values[reader.u8()] ?? reader.fail(expected),
  }
}

type Shape = Readonly<Record<string, Field<unknown>>>
type ShapeValue<S extends Shape> = { readonly [K in keyof S]: FieldValue<S[K]> }

/** Fields in the order in which they are written here. */
export function record<S extends Shape>(shape: S): Field<ShapeValue<S>> {
  const fields = Object.entries(shape)
  // A copy of it has its whole shape at once: properties that are added one by one by their names cost more.
  const blank: Readonly<Record<string, unknown>> = Object.fromEntries(fields.map(([name]) => [name, undefined]))
  return {
    write(writer, value) {
      const values: Readonly<Record<string, unknown>> = value
      for (const [name, field] of fields) field.write(writer, values[name])
    },
    read(reader) {
      const value: Record<string, unknown> = { ...blank }
      for (const [name, field] of fields) value[name] = field.read(reader)
      return value as ShapeValue<S>
    },
  }
}

/** Of values that were read, so many are known again by their bytes. */
const knownMax = 4

/**
 * For a value that nobody changes and that is written and read again and again: its bytes are kept with it, and bytes
 * that came before give the same object again. An encoding says itself where it ends: what begins with all bytes of one
 * is that one.
 */
export function remembered<T extends object>(item: Field<T>): Field<T> {
  const written = new WeakMap<T, Uint8Array>()
  const known: Array<{ readonly bytes: Uint8Array; readonly value: T }> = []
  let oldest = 0
  return {
    write(writer, value) {
      const bytes = written.get(value)
      if (bytes !== undefined) {
        writer.raw(bytes)
        return
      }
      const { offset } = writer
      item.write(writer, value)
      written.set(value, writer.copyFrom(offset))
    },
    read(reader) {
      for (const { bytes, value } of known) if (reader.take(bytes)) return value
      const { offset } = reader
      const value = item.read(reader)
      known[oldest] = { bytes: reader.copyFrom(offset), value }
      oldest = (oldest + 1) % knownMax
      return value
    },
  }
}
