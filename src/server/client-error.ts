import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FailureCode } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'

/** What is not HTTP, or came too slowly: answered in the shape of every other error, then the connection ends. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const [status, code, message]: [number, FailureCode, string] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? [408, 'TIMEOUT', 'the request did not arrive in time']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? [431, 'LIMIT_EXCEEDED', 'the path and the headers are larger than this server reads']
        : [400, 'BAD_REQUEST', 'this is not a request of HTTP/1.1']
  answer(socket, status, new UnderstudyError(code, message))
}

/** Plain text on a port with TLS. */
export function answerPlainText(socket: Socket): void {
  const error = new UnderstudyError('BAD_REQUEST', 'this port speaks TLS, and this request is plain text', {
    hint: 'use https://',
  })
  answer(socket, 400, error)
}

function answer(socket: Socket, status: number, error: UnderstudyError): void {
  const body = JSON.stringify(error)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ]
  if (!socket.writable) {
    socket.destroy()
    return
  }
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  // What still arrives is read away for a moment: a reset would take the answer from the other side.
  socket.resume()
  setTimeout(() => socket.destroy(), limits.httpLingerMs).unref()
}
