import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as plainRequest } from 'node:http'
import { request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Credentials } from '#src/access/credentials.js'
import { isFailure, UnderstudyError } from '#src/errors.js'
import { silentLogger } from '#src/ports/logger.js'
import { createHttpUpgradeTransport, type HttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { Authority, type CertificateFiles, withoutOpenssl } from '../support/certificates.js'
import { testClock } from '../support/clock.js'
import { testCredentials } from '../support/credentials.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { withServer } from '../support/fake-server.js'
import { ask } from '../support/http.js'

interface TlsAnswer {
  readonly status: number
  readonly text: string
  readonly serial: string
}

describe('TLS', { skip: withoutOpenssl, timeout: 60_000 }, () => {
  let directory = ''
  let authority: Authority
  let stranger: Authority
  let node: CertificateFiles
  let client: CertificateFiles
  before(async () => {
    directory = await makeDirectory()
    authority = new Authority(directory)
    stranger = new Authority(directory, 'stranger')
    node = authority.issue('a.internal')
    client = authority.issue('shop')
  })
  after(() => removeDirectory(directory))

  const accessText = 'read,write:canary-token-of-shop replicate:canary-token-of-peer'
  function credentials(
    clients: 'none' | 'optional' | 'required',
    more: Parameters<typeof testCredentials>[0] = {},
    files: CertificateFiles = node,
  ): Credentials {
    return testCredentials({ tls: { ...files, ca: authority.ca, clients }, ...more })
  }

  function askTls(
    address: string,
    path: string,
    options: { readonly ca?: string; readonly own?: CertificateFiles; readonly token?: string } = {},
  ): Promise<TlsAnswer> {
    const [host, port] = address.split(':')
    const { own, token } = options
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host,
          port,
          path,
          agent: false,
          ca: readFileSync(options.ca ?? authority.ca),
          ...(own === undefined ? {} : { cert: readFileSync(own.cert), key: readFileSync(own.key) }),
          headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        },
        (response: IncomingMessage) => {
          const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate()
          let text = ''
          response.on('data', (part) => {
            text += part
          })
          response.on('error', reject)
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text, serial: serialNumber }))
        },
      )
      sent.on('error', reject)
      sent.end()
    })
  }

  const code = (answer: TlsAnswer) => (JSON.parse(answer.text) as { code: string }).code

  test('requests are answered over TLS 1.2 and 1.3, nothing older, and only with the right authority', async () => {
    await withServer(
      async ({ address }) => {
        assert.equal((await askTls(address, '/v1/status')).status, 200)
        await assert.rejects(askTls(address, '/v1/status', { ca: stranger.ca }), { code: 'SELF_SIGNED_CERT_IN_CHAIN' })
        const [host, port] = address.split(':')
        const old = connectTls({
          host: host!,
          port: Number(port),
          ca: readFileSync(authority.ca),
          maxVersion: 'TLSv1.1',
          minVersion: 'TLSv1',
          ciphers: 'DEFAULT@SECLEVEL=0',
        })
        await assert.rejects(once(old, 'secureConnect'))
      },
      { credentials: credentials('none') },
    )
  })

  test('plain text on a port with TLS is told so, in the form of every error; silence is ended', async () => {
    await withServer(
      async ({ address }) => {
        const answer = await ask(address, '/v1/status')
        assert.equal(answer.status, 400)
        const { code, hint } = answer.json()
        assert.deepEqual([code, hint], ['UNDERSTUDY_BAD_REQUEST', 'use https://'])
        const [host, port] = address.split(':')
        const socket = connect(Number(port), host)
        socket.write('nonsense')
        socket.resume()
        await once(socket, 'close')
      },
      { credentials: credentials('none') },
    )
  })

  test('TLS on a port with plain text fails at once', async () => {
    await withServer(async ({ address }) => {
      await assert.rejects(askTls(address, '/livez'), { code: 'EPROTO' })
    })
  })

  test('required: without a certificate, with one of another authority or an expired one, there is no connection', async () => {
    await withServer(
      async ({ address }) => {
        assert.equal((await askTls(address, '/v1/status', { own: client })).status, 200)
        for (const own of [undefined, stranger.issue('shop'), authority.issue('shop', { expired: true })]) {
          await assert.rejects(askTls(address, '/livez', own === undefined ? {} : { own }), (error: Error) => {
            assert.match(String((error as NodeJS.ErrnoException).code), /ERR_SSL|ECONNRESET|EPIPE/)
            return true
          })
        }
      },
      { credentials: credentials('required') },
    )
  })

  test('optional: certificates have the scopes that are listed; one that is not accepted is refused with the reason', async () => {
    const file = join(directory, 'access.toml')
    writeFileSync(file, '[[certificate]]\nname = "shop"\nscopes = ["read"]\n')
    await withServer(
      async ({ address }) => {
        assert.equal((await askTls(address, '/v1/kv', { own: client })).status, 200)
        const promote = await askTls(address, '/v1/batch', { own: client })
        assert.equal(promote.status, 405)
        const none = await askTls(address, '/v1/kv')
        assert.deepEqual([none.status, code(none)], [401, 'UNDERSTUDY_UNAUTHORIZED'])
        const unlisted = await askTls(address, '/v1/kv', { own: authority.issue('other') })
        assert.equal(unlisted.status, 401)
        assert.equal((await askTls(address, '/v1/kv', { token: 'canary-token-of-shop' })).status, 200)
        for (const [own, says] of [
          [stranger.issue('shop'), /not accepted: (SELF_SIGNED|UNABLE_TO)/],
          [authority.issue('shop', { expired: true }), /not accepted: CERT_HAS_EXPIRED/],
        ] as const) {
          const answer = await askTls(address, '/v1/kv', { own })
          assert.equal(answer.status, 401)
          assert.match(answer.text, says)
        }
        assert.equal((await askTls(address, '/livez', { own: stranger.issue('x') })).status, 200)
        // A browser shows its certificate to every page's requests: those of other sites are refused.
        const [host, port] = address.split(':')
        const foreign = request({
          host,
          port,
          path: '/v1/kv',
          agent: false,
          ca: readFileSync(authority.ca),
          cert: readFileSync(client.cert),
          key: readFileSync(client.key),
          headers: { origin: 'https://evil.example' },
        })
        foreign.end()
        const [response] = (await once(foreign, 'response')) as [IncomingMessage]
        assert.equal(response.statusCode, 401)
        response.resume()
      },
      { credentials: credentials('optional', { accessFile: file, tokens: accessText }) },
    )
  })

  test('certificates are read anew: new connections get the new one, those that are open go on', async () => {
    const files = { cert: join(directory, 'live.pem'), key: join(directory, 'live.key') }
    const put = (next: CertificateFiles) => {
      copyFileSync(next.cert, files.cert)
      copyFileSync(next.key, files.key)
    }
    put(node)
    const own = credentials('none', {}, files)
    await withServer(
      async ({ address }) => {
        const [host, port] = address.split(':')
        const open = connectTls({ host: host!, port: Number(port), ca: readFileSync(authority.ca) })
        await once(open, 'secureConnect')
        const first = (await askTls(address, '/livez')).serial
        // Half of a change is no certificate with its key: what was there stays.
        copyFileSync(authority.issue('a.internal').cert, files.cert)
        own.check()
        assert.match(own.status.problem ?? '', /tlsKey: .* is not the key of the certificate/)
        assert.equal((await askTls(address, '/livez')).serial, first)
        put(authority.issue('a.internal'))
        own.check()
        assert.equal(own.status.problem, undefined)
        assert.notEqual((await askTls(address, '/livez')).serial, first)
        open.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
        const [answer] = (await once(open, 'data')) as [Buffer]
        assert.match(answer.toString(), /^HTTP\/1.1 200/)
        open.destroy()
      },
      { credentials: own },
    )
    own.close()
  })

  test('Location of a primary is https where this node speaks TLS', async () => {
    await withServer(
      async ({ address, node: fake }) => {
        const error = new UnderstudyError('NOT_PRIMARY', 'b is', { primary: 'b.test:7400' })
        fake.main.failures.set('beginRead', error)
        const [host, port] = address.split(':')
        const sent = request({ host, port, path: '/v1/kv/k', agent: false, ca: readFileSync(authority.ca) })
        sent.end()
        const [response] = (await once(sent, 'response')) as [IncomingMessage]
        assert.equal(response.statusCode, 421)
        assert.equal(response.headers.location, 'https://b.test:7400/v1/kv/k')
        response.resume()
      },
      { credentials: credentials('none') },
    )
  })

  describe('replication', () => {
    /** A server with these credentials, and how others connect to it. */
    async function withPeer(
      own: Credentials | undefined,
      use: (peer: { readonly address: string; readonly transport: HttpUpgradeTransport }) => Promise<void>,
    ): Promise<void> {
      const transport = createHttpUpgradeTransport({
        clock: testClock,
        logger: silentLogger,
        ...(own === undefined ? {} : { admit: (upgrade: IncomingMessage) => own.admitNode(upgrade) }),
      })
      transport.accept((connection) => connection.start({ onFrame() {}, onClose() {} }))
      const options = { attach: (server: Parameters<typeof transport.attach>[0]) => transport.attach(server) }
      try {
        await withServer(({ address }) => use({ address, transport }), {
          ...options,
          ...(own === undefined ? {} : { credentials: own }),
        })
      } finally {
        await transport.close()
      }
    }

    async function dial(address: string, from: Credentials): Promise<string> {
      const transport = createHttpUpgradeTransport({
        clock: testClock,
        logger: silentLogger,
        dial: () => from.dial(),
      })
      try {
        const connection = await transport.connect(address, { timeoutMs: 5_000 })
        connection.close()
        return 'connected'
      } catch (error) {
        if (!isFailure(error)) throw error
        return `${error.failure}: ${error.message}`
      } finally {
        await transport.close()
      }
    }

    test('needs the scope replicate: by token or by certificate', async () => {
      const file = join(directory, 'peers.toml')
      writeFileSync(file, '[[certificate]]\nname = "b.internal"\nscopes = ["replicate"]\n')
      await withPeer(credentials('optional', { accessFile: file, tokens: accessText }), async ({ address }) => {
        const b = authority.issue('b.internal')
        const as = (files: CertificateFiles, token?: string) => credentials('none', { token }, files)
        assert.equal(await dial(address, as(b)), 'connected')
        assert.equal(await dial(address, as(client, 'canary-token-of-peer')), 'connected')
        assert.match(await dial(address, as(client)), /^UNAUTHORIZED: .*HTTP 401 this node asks for a token/)
        assert.match(
          await dial(address, as(client, 'canary-token-of-shop')),
          /^FORBIDDEN: .*scope "replicate".*read, write/,
        )
        assert.match(await dial(address, as(b, 'canary-wrong-token-00')), /^UNAUTHORIZED: .*not known here/)
        // Presented by itself where it stands in the list of the node that connects.
        assert.equal(await dial(address, credentials('none', { tokens: accessText }, client)), 'connected')
      })
    })

    test('checks authority, validity and name of the other side', async () => {
      await withPeer(credentials('required'), async ({ address }) => {
        const from = (tls: Partial<{ ca: string } & CertificateFiles>) =>
          testCredentials({ tls: { ...client, ca: authority.ca, clients: 'none', ...tls } })
        assert.equal(await dial(address, from({})), 'connected')
        assert.match(
          await dial(address, from({ ca: stranger.ca })),
          /^UNAUTHORIZED: the certificate of .* is not accepted/,
        )
        const refused = await dial(address, from(stranger.issue('b')))
        assert.match(refused, /^UN(AUTHORIZED|AVAILABLE): /)
      })
      const elsewhere = authority.issue('c.internal', { alternative: 'DNS:c.internal' })
      await withPeer(credentials('none', {}, elsewhere), async ({ address }) => {
        assert.match(await dial(address, credentials('none')), /^UNAUTHORIZED: the certificate of .* altnames/)
      })
    })

    test('plain text against TLS and TLS against plain text are named', async () => {
      await withPeer(credentials('none'), async ({ address }) => {
        assert.match(await dial(address, testCredentials()), /^PROTOCOL: .*this port speaks TLS/)
      })
      await withPeer(undefined, async ({ address }) => {
        assert.match(await dial(address, credentials('none')), /^PROTOCOL: .* does not speak TLS/)
      })
    })

    test('a connection ends when its credentials are taken out of the file', async () => {
      const file = join(directory, 'withdrawn.toml')
      const entry = (token: string) => `[[token]]\ntoken = "${token}"\nscopes = ["replicate"]\n`
      writeFileSync(file, entry('canary-token-of-peer') + entry('canary-token-of-next'))
      const own = testCredentials({ accessFile: file })
      await withPeer(own, async ({ address, transport: acceptor }) => {
        own.onChange(() => acceptor.readmit())
        const from = (token: string) =>
          createHttpUpgradeTransport({
            clock: testClock,
            logger: silentLogger,
            dial: () => ({ tls: undefined, token }),
          })
        const [old, next] = [from('canary-token-of-peer'), from('canary-token-of-next')]
        const connection = await old.connect(address, { timeoutMs: 5_000 })
        const other = await next.connect(address, { timeoutMs: 5_000 })
        let isOtherClosed = false
        other.start({
          onFrame() {},
          onClose() {
            isOtherClosed = true
          },
        })
        const closed = new Promise<Error | undefined>((resolve) => {
          connection.start({ onFrame() {}, onClose: resolve })
        })
        writeFileSync(file, entry('canary-token-of-next'))
        own.check()
        const reason = await closed
        assert.ok(isFailure(reason, 'UNAUTHORIZED'))
        assert.match(reason.message, /no longer valid/)
        assert.equal(isOtherClosed, false)
        await old.close()
        await next.close()
      })
      own.close()
    })

    test('malformed upgrades are refused in the form of every error', async () => {
      await withPeer(testCredentials({ tokens: accessText }), async ({ address }) => {
        const [host, port] = address.split(':')
        const upgrade = async (method: string, headers: Record<string, string>) => {
          const sent = plainRequest({ host, port, path: '/v1/replication', method, headers, agent: false })
          sent.end()
          const [response] = (await once(sent, 'response')) as [IncomingMessage]
          let text = ''
          for await (const part of response) text += part
          return { status: response.statusCode, ...(JSON.parse(text) as { code: string; outcome: string }) }
        }
        const token = { Authorization: 'Bearer canary-token-of-peer' }
        for (const [method, headers, status, code] of [
          ['GET', { Connection: 'Upgrade', Upgrade: 'websocket', ...token }, 400, 'BAD_REQUEST'],
          ['GET', { Connection: 'Upgrade', Upgrade: 'understudy/9', ...token }, 426, 'PROTOCOL_VERSION'],
          ['POST', { Connection: 'Upgrade', Upgrade: 'understudy/1', ...token }, 400, 'BAD_REQUEST'],
          ['GET', { Connection: 'Upgrade', Upgrade: 'understudy/1' }, 401, 'UNAUTHORIZED'],
          [
            'GET',
            { Connection: 'Upgrade', Upgrade: 'understudy/1', Authorization: 'Bearer canary-token-of-shop' },
            403,
            'FORBIDDEN',
          ],
        ] as const) {
          const answer = await upgrade(method, headers)
          assert.deepEqual([answer.status, answer.code, answer.outcome], [status, `UNDERSTUDY_${code}`, 'none'])
        }
      })
    })
  })
})
