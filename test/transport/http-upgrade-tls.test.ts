// The whole suite over TLS with certificates on both sides.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import { createServer as createNetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { testTransport } from '#src/transport/conformance.js'
import { createHttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { Authority, withoutOpenssl } from '../support/certificates.js'
import { testClock } from '../support/clock.js'
import { closeServer, listenAnywhere } from '../support/listen.js'
import { refusalLogger } from '../support/refusals.js'

if (withoutOpenssl !== false) test('http upgrade over TLS', { skip: withoutOpenssl }, () => {})
else {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-tls-'))
  after(() => rmSync(directory, { recursive: true, force: true }))
  const authority = new Authority(directory)
  const files = authority.issue('node')
  const tls = { cert: readFileSync(files.cert), key: readFileSync(files.key), ca: readFileSync(authority.ca) }

  testTransport('http upgrade over TLS', {
    async node(options = {}) {
      const { logger, codes } = refusalLogger()
      const dial = () => ({ tls, token: undefined })
      const transport = createHttpUpgradeTransport({ clock: testClock, logger, dial, ...options })
      const server = createServer({ ...tls, requestCert: true }, (_request, response) => response.end('hello'))
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
}
