/** Where a node listens: a name or an IP address, and a port. */
export interface Address {
  /** Without brackets, also for IPv6. */
  readonly host: string
  readonly port: number
}

/** `host:port` or `[ipv6]:port`; undefined for anything else. Port 0 (any) is for listening only. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const port = Number(match[3])
  const host = match[1] ?? match[2]
  if (host === undefined || port > 65_535) return undefined
  if (match[1] !== undefined && !match[1].includes(':')) return undefined
  return { host, port }
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}
