import type { IncomingMessage } from 'node:http'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { HttpRefusal } from './http-error.js'

/**
 * Bodies as bytes, whatever their content type says. Each has its limit, all that are under way have one together, and
 * one that does not go on arriving is given up: memory is bounded however many clients are slow.
 */
export class BodyReader {
  #bytes = 0
  readonly #bytesMax: number
  readonly #stallMs: number

  constructor(options: { readonly bytesMax?: number; readonly stallMs?: number } = {}) {
    this.#bytesMax = options.bytesMax ?? limits.httpBodiesBytesMax
    this.#stallMs = options.stallMs ?? limits.httpBodyStallMs
  }

  /** Bytes that `read` has gathered, or handed out and not got back. */
  get bytes(): number {
    return this.#bytes
  }

  /** The bytes count until `release`, which is called when the answer has been given. */
  read(request: IncomingMessage, bodyLimit: number): Promise<{ readonly body: Buffer; release(): void }> {
    const encoding = request.headers['content-encoding']
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      throw new HttpRefusal(
        415,
        'BAD_REQUEST',
        `header Content-Encoding: "${encoding.slice(0, 40)}" is not read here`,
        {
          hint: 'send the bytes as they are',
        },
      )
    }
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > bodyLimit) throw tooLarge(bodyLimit)
    return new Promise((resolve, reject) => {
      const pieces: Buffer[] = []
      let bytes = 0
      let isReleased = false
      const release = (): void => {
        if (!isReleased) this.#bytes -= bytes
        isReleased = true
      }
      const end = (error: Error | undefined): void => {
        clearTimeout(timer)
        request.off('data', onData).off('end', onEnd).off('error', end).off('close', onClose)
        if (error === undefined) {
          resolve({ body: pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), release })
          return
        }
        release()
        request.pause()
        reject(error)
      }
      const onStall = (): void => {
        end(new HttpRefusal(408, 'TIMEOUT', `nothing of the body arrived for ${this.#stallMs} ms`))
      }
      const onData = (piece: Buffer): void => {
        bytes += piece.length
        this.#bytes += piece.length
        if (bytes > bodyLimit) end(tooLarge(bodyLimit))
        else if (this.#bytes > this.#bytesMax) end(new UnderstudyError('BACKPRESSURE', 'too many large bodies at once'))
        else {
          pieces.push(piece)
          timer.refresh()
        }
      }
      const onEnd = (): void => end(undefined)
      const onClose = (): void => end(new UnderstudyError('ABORTED', 'the client went away within its body'))
      const timer = setTimeout(onStall, this.#stallMs)
      request.on('data', onData).on('end', onEnd).on('error', end).on('close', onClose)
    })
  }
}

function tooLarge(bodyLimit: number): UnderstudyError {
  return new UnderstudyError('LIMIT_EXCEEDED', `the body is larger than the ${bodyLimit} bytes of this request`, {
    hint: 'a value may have 16 MiB, a batch 96 MiB as JSON',
  })
}
