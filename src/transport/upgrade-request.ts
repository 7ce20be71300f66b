import { type IncomingMessage, request } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { formatAddress, parseAddress } from '../core/address.js'
import { type FailureCode, failureCodes } from '../core/failure.js'
import { UnderstudyError } from '../errors.js'

/** Token of the HTTP Upgrade header. The number is the framing's; messages negotiate their own version. */
export const upgradeProtocol = 'understudy/1'

const refusalBytesMax = 4096

/** With what a node connects to another one. */
export interface DialOptions {
  /** Undefined: plain text. */
  readonly tls: ConnectionOptions | undefined
  /** Shown as `Authorization: Bearer`; undefined: nothing is. */
  readonly token: string | undefined
}

export interface UpgradeRequest {
  /** Resolves with the upgraded socket, not yet read, and the bytes that came behind the answer put back into it. */
  readonly socket: Promise<Socket>
  /** Gives up; `socket` rejects with this error. */
  abort(error: Error): void
}

/** Opens a connection and asks for the upgrade. Rejects with `CONFIG`, `UNAVAILABLE`, `PROTOCOL`, `PROTOCOL_VERSION`. */
export function requestUpgrade(address: string, dial?: DialOptions): UpgradeRequest {
  const parsed = parseAddress(address)
  if (parsed === undefined || parsed.port === 0) {
    const error = new UnderstudyError('CONFIG', `"${address}" is not an address of a node`, {
      hint: 'write host:port or [ipv6]:port',
    })
    return { socket: Promise.reject(error), abort() {} }
  }
  const { tls, token } = dial ?? {}
  const wanted = {
    host: parsed.host,
    port: parsed.port,
    path: '/v1/replication',
    headers: {
      Host: formatAddress(parsed),
      Connection: 'Upgrade',
      Upgrade: upgradeProtocol,
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    // A connection of its own: the default agent would wait for a free one.
    agent: false as const,
  }
  // The name or address in the certificate must be the one that was asked for: Node.js checks it.
  const outgoing = tls === undefined ? request(wanted) : tlsRequest({ ...wanted, ...tls })
  let abort: (error: Error) => void = () => {}
  const socket = new Promise<Socket>((resolve, reject) => {
    abort = (error) => {
      reject(error)
      outgoing.destroy()
    }
    outgoing.on('error', (error) => reject(requestError(address, error)))
    outgoing.on('upgrade', (answer: IncomingMessage, socket: Socket, head: Buffer) => {
      const protocol = answer.headers.upgrade ?? ''
      if (protocol.toLowerCase() !== upgradeProtocol) {
        socket.destroy()
        reject(versionError(address, protocol))
        return
      }
      // Unread bytes wait in the socket, as those do that arrive later.
      socket.pause()
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    outgoing.on('response', (answer) => {
      if (answer.statusCode === 426) {
        abort(versionError(address, answer.headers.upgrade ?? ''))
        return
      }
      // Read to the end of what an error may be; the rest, and the connection, is of no use.
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
        if (text.length > refusalBytesMax) answer.destroy()
      })
      // An answer that breaks off is still the answer: its status says what there is to say.
      answer.on('error', () => outgoing.destroy())
      answer.on('close', () => {
        outgoing.destroy()
        reject(refusalError(address, answer, text))
      })
    })
    outgoing.end()
  })
  return { socket, abort }
}

function requestError(address: string, error: Error): UnderstudyError {
  const errno = (error as NodeJS.ErrnoException).code ?? ''
  if (errno.startsWith('HPE_')) {
    return new UnderstudyError('PROTOCOL', `${address} does not speak HTTP: ${error.message}`, {
      cause: error,
      hint: 'check that the address is the one that the node listens on',
    })
  }
  if (errno === 'EPROTO' || errno === 'ERR_SSL_WRONG_VERSION_NUMBER' || errno === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return new UnderstudyError('PROTOCOL', `${address} does not speak TLS as this node does`, {
      cause: error,
      hint: 'either all nodes of a cluster have tlsCert or none has',
    })
  }
  if (/CERT|SIGNED|ISSUER|SIGNATURE/.test(errno) || errno.startsWith('ERR_SSL_')) {
    const asked = /CERTIFICATE_REQUIRED|ALERT/.test(errno)
    return new UnderstudyError(
      'UNAUTHORIZED',
      asked
        ? `${address} does not accept the certificate of this node: ${error.message}`
        : `the certificate of ${address} is not accepted: ${error.message}`,
      { cause: error, hint: 'tlsCa must be the authority of all nodes, and each certificate name its address' },
    )
  }
  return new UnderstudyError('UNAVAILABLE', `cannot reach ${address}: ${error.message || errno}`, { cause: error })
}

function versionError(address: string, offered: string): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VERSION',
    `${address} speaks ${offered.slice(0, 64) || 'no named protocol'}; this node speaks ${upgradeProtocol}`,
    { hint: 'upgrade the older node' },
  )
}

function refusalError(address: string, answer: IncomingMessage, text: string): UnderstudyError {
  const status = answer.statusCode ?? 0
  const { code, message: reason, hint } = refusalOf(text)
  const message = `${address} refused the replication connection: HTTP ${status} ${reason}`.trimEnd()
  const known = status === 401 ? 'UNAUTHORIZED' : status === 403 ? 'FORBIDDEN' : code
  if (known === 'UNAUTHORIZED' || known === 'FORBIDDEN') {
    return new UnderstudyError(known, message, hint === undefined ? {} : { hint })
  }
  if (status === 503) return new UnderstudyError('UNAVAILABLE', message)
  return new UnderstudyError('PROTOCOL', message, { hint: hint ?? 'check that the address is the one of a node' })
}

/** A node says it in JSON; what is no node says anything. */
function refusalOf(text: string): { readonly code?: FailureCode; readonly message: string; readonly hint?: string } {
  const plain = { message: text.split('\n', 1)[0]?.slice(0, 200) ?? '' }
  let said: Record<string, unknown>
  try {
    said = JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return plain
  }
  const { code, message, hint } = said ?? {}
  if (typeof message !== 'string') return plain
  const failure = failureCodes.find((one) => `UNDERSTUDY_${one}` === code)
  return {
    message: message.slice(0, 200),
    ...(failure === undefined ? {} : { code: failure }),
    ...(typeof hint === 'string' ? { hint: hint.slice(0, 200) } : {}),
  }
}
