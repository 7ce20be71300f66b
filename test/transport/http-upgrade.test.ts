import { createServer } from 'node:http'
import { testTransport } from '#src/transport/conformance.js'
import { upgradeHarness } from './upgrade-harness.js'

testTransport(
  'http upgrade',
  upgradeHarness(() => createServer((_request, response) => response.end('hello'))),
)
