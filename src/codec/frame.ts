/**
 * Frames: u32 length (of type and payload), u8 type, payload; little-endian.
 *
 * The decoder trusts nothing that has not arrived. A length is checked against the bound of its type before memory is
 * taken for it, and memory grows with the bytes that came, not with the bytes that were announced.
 */
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { frameName, framePayloadBytesMax, unjoinedHeadBytes } from './messages.js'

export const frameHeaderBytes = 5

/** What an announced frame is given before more of it has arrived than this. */
const gatherBytesMin = 64 * 1024

export function writeFrameHeader(into: Uint8Array, type: number, payloadBytes: number): void {
  const length = payloadBytes + 1
  into[0] = length & 0xff
  into[1] = (length >>> 8) & 0xff
  into[2] = (length >>> 16) & 0xff
  into[3] = (length >>> 24) & 0xff
  into[4] = type
}

export function encodeFrameHeader(type: number, payloadBytes: number): Uint8Array {
  const header = Buffer.allocUnsafe(frameHeaderBytes)
  writeFrameHeader(header, type, payloadBytes)
  return header
}

/** `tail`: the rest of the payload, as it came; only of types that are not joined. */
export type FrameListener = (type: number, payload: Uint8Array, tail?: readonly Uint8Array[]) => void

/** The largest payload that a frame of a type may have now; undefined for a type that may not come. */
export type FrameBound = (type: number) => number | undefined

/** Takes bytes as they come from a stream and gives whole frames. After an error it takes no more. */
export class FrameDecoder {
  /** May change between two frames: what is allowed before authentication is less than after it. */
  bound: FrameBound
  private readonly header = Buffer.alloc(frameHeaderBytes)
  private headerFilled = 0
  private type = 0
  private payloadBytes = 0
  /** Payload of the frame under way, as far as it has come. Grows by doubling: linear work for any segmentation. */
  private gathered: Buffer | undefined
  private gatheredBytes = 0
  /** Of a payload that is not joined: views of what came, behind its head. */
  private tail: Uint8Array[] | undefined
  private failure: UnderstudyError | undefined

  constructor(bound: FrameBound = framePayloadBytesMax) {
    this.bound = bound
  }

  /** True if the bytes so far end within a frame. */
  get partial(): boolean {
    return this.headerFilled > 0
  }

  /**
   * Hands over every frame that the bytes complete, in order. A payload belongs to the listener; it may be a view
   * into `bytes`. Throws `PROTOCOL` for a frame that may not be, after the frames before it were handed over.
   */
  push(bytes: Uint8Array, listener: FrameListener): void {
    if (this.failure !== undefined) throw this.failure
    let at = 0
    while (at < bytes.length) {
      if (this.headerFilled < frameHeaderBytes) {
        const count = Math.min(frameHeaderBytes - this.headerFilled, bytes.length - at)
        this.header.set(bytes.subarray(at, at + count), this.headerFilled)
        this.headerFilled += count
        at += count
        if (this.headerFilled < frameHeaderBytes) {
          // A length that can never be right is refused without waiting for the type.
          if (this.headerFilled === 4) this.checkLength(this.header.readUInt32LE(0))
          return
        }
        this.openFrame()
      }
      const headBytes = unjoinedHeadBytes(this.type)
      if (headBytes !== undefined && this.payloadBytes > headBytes) {
        at = this.collect(bytes, at, headBytes)
        if (this.gatheredBytes === this.payloadBytes) this.finishUnjoined(headBytes, listener)
        continue
      }
      const count = Math.min(this.payloadBytes - this.gatheredBytes, bytes.length - at)
      if (count === this.payloadBytes) {
        const payload = detached(bytes, at, count)
        at += count
        this.closeFrame()
        listener(this.type, payload)
        continue
      }
      this.gather(bytes, at, count)
      at += count
      if (this.gatheredBytes < this.payloadBytes) return
      const payload = this.gathered ?? Buffer.alloc(0)
      this.closeFrame()
      listener(this.type, payload)
    }
  }

  private checkLength(length: number): void {
    if (length === 0) this.fail('frame of length 0; at least the type byte must follow')
    if (length - 1 > limits.frameBytesMax) {
      this.fail(`frame of ${length} bytes announced; at most ${limits.frameBytesMax + 1}`)
    }
  }

  private openFrame(): void {
    const length = this.header.readUInt32LE(0)
    this.checkLength(length)
    this.type = this.header.readUInt8(4)
    this.payloadBytes = length - 1
    const name = frameName(this.type)
    const bytesMax = this.bound(this.type)
    if (bytesMax === undefined) {
      this.fail(
        name === undefined ? `unknown frame type ${this.type}` : `frame type ${this.type} (${name}) out of turn`,
      )
    }
    if (this.payloadBytes > bytesMax) {
      this.fail(`frame ${name ?? this.type} of ${this.payloadBytes} payload bytes announced; at most ${bytesMax}`)
    }
  }

  private closeFrame(): void {
    this.headerFilled = 0
    this.gathered = undefined
    this.gatheredBytes = 0
    this.tail = undefined
  }

  private gather(bytes: Uint8Array, at: number, count: number): void {
    const needed = this.gatheredBytes + count
    if (this.gathered === undefined || needed > this.gathered.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.payloadBytes, Math.max(gatherBytesMin, needed * 2)))
      if (this.gathered !== undefined) this.gathered.copy(larger, 0, 0, this.gatheredBytes)
      this.gathered = larger
    }
    this.gathered.set(bytes.subarray(at, at + count), this.gatheredBytes)
    this.gatheredBytes = needed
  }

  /** Takes what belongs to the payload: the head is copied, what follows stays where it is. */
  private collect(bytes: Uint8Array, at: number, headBytes: number): number {
    const head = Math.min(Math.max(0, headBytes - this.gatheredBytes), bytes.length - at)
    if (head > 0) {
      this.gathered ??= Buffer.allocUnsafeSlow(headBytes)
      this.gathered.set(bytes.subarray(at, at + head), this.gatheredBytes)
      this.gatheredBytes += head
    }
    const from = at + head
    const count = Math.min(this.payloadBytes - this.gatheredBytes, bytes.length - from)
    if (count > 0 && this.gatheredBytes >= headBytes) {
      this.tail ??= []
      this.tail.push(bytes.subarray(from, from + count))
      this.gatheredBytes += count
      return from + count
    }
    return from
  }

  private finishUnjoined(headBytes: number, listener: FrameListener): void {
    const head = this.gathered!.subarray(0, headBytes)
    const { tail } = this
    this.closeFrame()
    listener(this.type, head, tail)
  }

  private fail(message: string): never {
    this.failure = new UnderstudyError('PROTOCOL', message, {
      hint: 'the other side speaks another protocol or version, or the connection was damaged on its way',
    })
    this.closeFrame()
    throw this.failure
  }
}

/**
 * A payload that came in one piece: a view when it is most of what arrived, else a copy, so that a small payload that
 * is kept does not keep a large read alive.
 */
function detached(bytes: Uint8Array, at: number, count: number): Uint8Array {
  const view = bytes.subarray(at, at + count)
  return count * 2 >= bytes.length ? view : Buffer.from(view)
}
