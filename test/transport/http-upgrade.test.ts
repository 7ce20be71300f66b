import { createServer } from 'node:http'
import { createServer as createNetServer, type Socket } from 'node:net'
import { testTransport } from '#src/transport/conformance.js'
import { createHttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { testClock } from '../support/clock.js'
import { closeServer, listenAnywhere } from '../support/listen.js'
import { refusalLogger } from '../support/refusals.js'

testTransport('http upgrade', {
  async node(options = {}) {
    const { logger, codes } = refusalLogger()
    const transport = createHttpUpgradeTransport({ clock: testClock, logger, ...options })
    const server = createServer((_request, response) => response.end('hello'))
    transport.attach(server)
    const address = await listenAnywhere(server)
    return {
      transport,
      address,
      refusals: codes,
      async close() {
        await transport.close()
        server.closeAllConnections()
        await closeServer(server)
      },
    }
  },
  async deadAddress() {
    const server = createNetServer()
    const address = await listenAnywhere(server)
    await closeServer(server)
    return address
  },
  async silentAddress() {
    const sockets = new Set<Socket>()
    const server = createNetServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
    })
    const address = await listenAnywhere(server)
    return {
      address,
      async close() {
        for (const socket of sockets) socket.destroy()
        await closeServer(server)
      },
    }
  },
})
