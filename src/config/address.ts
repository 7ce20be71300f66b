import { isIP } from 'node:net'
import type { Address } from '../core/address.js'
import { limits } from '../core/limits.js'

export type ParsedAddress = { readonly address: Address } | { readonly reason: string; readonly suggestion?: string }

const hostName = /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/
const examplePort = 7400

/**
 * What `parseAddress` of the core reads, with the reason and a suggestion for people where it does not. Port 0 is
 * accepted here; whether it makes sense depends on where it stands.
 */
export function readAddress(text: string): ParsedAddress {
  if (Buffer.byteLength(text) > limits.addressBytesMax) {
    return { reason: `is longer than ${limits.addressBytesMax} bytes` }
  }
  if (text.includes('://')) {
    return { reason: 'is a URL, not an address', suggestion: 'write host:port, without scheme and path' }
  }
  if (isIP(text) === 6) {
    return { reason: 'lacks brackets and a port', suggestion: `[${text}]:${examplePort}` }
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text)
  if (match === null) return { reason: 'is not host:port', suggestion: `for example 127.0.0.1:${examplePort}` }
  const [, bracketed, plain, portText] = match
  const host = bracketed ?? plain ?? ''
  if (bracketed !== undefined && isIP(bracketed) !== 6) return { reason: `"${bracketed}" is not an IPv6 address` }
  if (host === '') {
    return {
      reason: 'names no host',
      suggestion: `0.0.0.0:${portText ?? examplePort} for all addresses of the machine`,
    }
  }
  if (portText === undefined) return { reason: 'names no port', suggestion: `${text}:${examplePort}` }
  const port = Number(portText)
  if (port > 65_535) return { reason: `names port ${port}; the highest is 65535` }
  if (isIP(host) === 0 && (/^[\d.]+$/.test(host) || !hostName.test(host))) {
    return { reason: `"${host}" is neither a host name nor an IP address` }
  }
  return { address: { host, port } }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** Listens on every address of the machine, and so is no address that others could connect to. */
export function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || (isIP(host) === 6 && /^[0:]+$/.test(host))
}
