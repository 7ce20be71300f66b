/** The conformance suite on upgrades of a real HTTP server, plain or with TLS. */
import type { Server } from 'node:http'
import { createServer as createNetServer, type Socket } from 'node:net'
import type { TransportHarness } from '#src/transport/conformance-kit.js'
import { createHttpUpgradeTransport, type HttpUpgradeOptions } from '#src/transport/http-upgrade.js'
import { testClock } from '../support/clock.js'
import { closeServer, listenAnywhere } from '../support/listen.js'
import { refusalLogger } from '../support/refusals.js'

export function upgradeHarness(
  createServer: () => Server,
  dial: Pick<HttpUpgradeOptions, 'dial'> = {},
): TransportHarness {
  return {
    async node(options = {}) {
      const { logger, codes } = refusalLogger()
      const transport = createHttpUpgradeTransport({ clock: testClock, logger, ...dial, ...options })
      const server = createServer()
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
  }
}
