import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Credentials } from '../access/credentials.js'
import { type Address, formatAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { answerPlainText } from './client-error.js'

export interface ListenerTimes {
  readonly requestTimeoutMs?: number
  readonly headersTimeoutMs?: number
  readonly keepAliveMs?: number
  /** How often the two bounds above are looked at. */
  readonly checkMs?: number
}

/** The server of the one port, plain or with TLS. Certificates are taken anew when they were read anew. */
export function createListener(credentials: Credentials, times: ListenerTimes = {}): Server {
  const options: ServerOptions = {
    requestTimeout: times.requestTimeoutMs ?? limits.httpRequestTimeoutMs,
    headersTimeout: times.headersTimeoutMs ?? limits.httpHeadersTimeoutMs,
    keepAliveTimeout: times.keepAliveMs ?? limits.httpKeepAliveMs,
    connectionsCheckingInterval: times.checkMs ?? 1_000,
    maxHeaderSize: limits.httpHeaderBytesMax,
  }
  const server = credentials.tls === undefined ? createServer(options) : createTls(credentials, options)
  server.maxConnections = limits.httpConnectionsMax
  return server
}

function createTls(credentials: Credentials, options: ServerOptions): Server {
  const material = () => {
    const { cert, key, ca } = credentials.tls!.material
    return { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' as const }
  }
  const { clients } = credentials.tls!
  const server = createTlsServer({
    ...options,
    ...material(),
    handshakeTimeout: limits.tlsHandshakeTimeoutMs,
    requestCert: clients !== 'none',
    // With `optional` a certificate that is not accepted is answered by a request's error, which can say why.
    rejectUnauthorized: clients === 'required',
  })
  const stop = credentials.onChange(() => server.setSecureContext(material()))
  server.once('close', stop)
  separatePlainText(server)
  return server
}

const tlsHandshakeRecord = 0x16

/** Looks at the first byte of each connection: who speaks plain text to this port is told so, in plain text. */
function separatePlainText(server: Server): void {
  const takers = server.listeners('connection') as Array<(socket: Socket) => void>
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const timer = setTimeout(() => socket.destroy(), limits.tlsHandshakeTimeoutMs)
    const onGone = (): void => clearTimeout(timer)
    const onReadable = (): void => {
      const first = socket.read() as Buffer | null
      // Null: it ended, or nothing was there yet.
      if (first === null) return
      clearTimeout(timer)
      socket.off('readable', onReadable).off('error', onGone).off('close', onGone).off('end', onEnd)
      if (first[0] !== tlsHandshakeRecord) {
        socket.on('error', () => socket.destroy())
        answerPlainText(socket)
        return
      }
      socket.unshift(first)
      for (const take of takers) take.call(server, socket)
    }
    const onEnd = (): void => {
      socket.destroy()
    }
    socket.on('readable', onReadable).on('error', onGone).on('close', onGone).on('end', onEnd)
  })
}

export function bind(server: Server, address: Address): Promise<string> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      server.off('listening', onListening)
      reject(bindError(error, formatAddress(address)))
    }
    const onListening = (): void => {
      server.off('error', onError)
      const { port } = server.address() as AddressInfo
      resolve(formatAddress({ host: address.host, port }))
    }
    server.once('error', onError)
    server.once('listening', onListening)
    server.listen({ host: address.host, port: address.port })
  })
}

function bindError(error: NodeJS.ErrnoException, address: string): UnderstudyError {
  if (error.code === 'EADDRINUSE') {
    return new UnderstudyError('ADDRESS_IN_USE', `${address} is in use by another process`, {
      hint: 'end that process, or listen on another port',
      cause: error,
    })
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND' || error.code === 'EACCES') {
    const why = error.code === 'EACCES' ? 'may not be listened on by this user' : 'is not an address of this machine'
    return new UnderstudyError('CONFIG', `listen: ${address} ${why}`, { cause: error })
  }
  return toUnderstudyError(error, `listening on ${address}`)
}
