import { createServer } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { testTransport } from '#src/transport/conformance.js'
import { createHttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { testClock } from '../support/clock.js'
import { refusalLogger } from '../support/refusals.js'

function listening(server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }) {
  return new Promise<string>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`))
  })
}

testTransport('http upgrade', {
  async node(options = {}) {
    const { logger, codes } = refusalLogger()
    const transport = createHttpUpgradeTransport({ clock: testClock, logger, ...options })
    const server = createServer((_request, response) => response.end('hello'))
    transport.attach(server)
    const address = await listening(server)
    return {
      transport,
      address,
      refusals: codes,
      async close() {
        await transport.close()
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
  async deadAddress() {
    const server = createNetServer()
    const address = await listening(server)
    await new Promise((resolve) => server.close(resolve))
    return address
  },
  async silentAddress() {
    const sockets = new Set<Socket>()
    const server = createNetServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
    })
    const address = await listening(server)
    return {
      address,
      async close() {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
})
