import type { AddressInfo, Server } from 'node:net'

/** Listens on any free port of the loopback; resolves with `host:port`. */
export function listenAnywhere(server: Server, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, () => {
      const { port } = server.address() as AddressInfo
      resolve(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)
    })
  })
}

export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}
