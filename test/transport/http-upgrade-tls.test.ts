// The whole suite over TLS with certificates on both sides.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { testTransport } from '#src/transport/conformance.js'
import { Authority, withoutOpenssl } from '../support/certificates.js'
import { upgradeHarness } from './upgrade-harness.js'

if (withoutOpenssl !== false) test('http upgrade over TLS', { skip: withoutOpenssl }, () => {})
else {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-tls-'))
  after(() => rmSync(directory, { recursive: true, force: true }))
  const authority = new Authority(directory)
  const files = authority.issue('node')
  const tls = { cert: readFileSync(files.cert), key: readFileSync(files.key), ca: readFileSync(authority.ca) }
  testTransport(
    'http upgrade over TLS',
    upgradeHarness(() => createServer({ ...tls, requestCert: true }, (_request, response) => response.end('hello')), {
      dial: () => ({ tls, token: undefined }),
    }),
  )
}
