import { testTransport } from '#src/transport/conformance.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'
import { testClock } from '../support/clock.js'
import { refusalLogger } from '../support/refusals.js'

const network = createInMemoryNetwork(testClock)
let nextPort = 1

testTransport('in memory', {
  async node(options = {}) {
    const address = `node:${nextPort++}`
    const { logger, codes } = refusalLogger()
    const transport = network.transport(address, { ...options, logger })
    return { transport, address, refusals: codes, close: () => transport.close() }
  },
  async deadAddress() {
    return `nobody:${nextPort++}`
  },
  async silentAddress() {
    const address = `silent:${nextPort++}`
    network.partition('*', address)
    return { address, close: async () => network.heal() }
  },
})
