/** A dead-man's switch: called while replication is healthy, and never else. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { findFreePorts } from '#src/cli/free-ports.js'
import { checkConfig } from '#src/config/check-config.js'
import { checkOptions } from '#src/config/check-options.js'
import { describeOptions } from '#src/config/node-options.js'
import { httpPing } from '#src/platform/http-ping.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { type LogFields, type Logger, silentLogger } from '#src/ports/logger.js'
import type { NodeHandle } from '#src/runtime/handle.js'
import { Heartbeat } from '#src/server/heartbeat.js'
import { put, type TestCluster, until, untilInSync, withCluster } from '../support/cluster.js'
import { ServeProcess } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { listenAnywhere } from '../support/listen.js'

interface Heard {
  readonly message: string
  readonly fields: LogFields
}

function hearing(): { readonly logger: Logger; readonly heard: Heard[] } {
  const heard: Heard[] = []
  const hear = (fields: LogFields, message: string) => {
    heard.push({ message, fields })
  }
  const child = (bound: LogFields): Logger => ({
    ...silentLogger,
    info: (fields, message) => hear({ ...bound, ...fields }, message),
    warn: (fields, message) => hear({ ...bound, ...fields }, message),
    child,
  })
  return { logger: child({}), heard }
}

/** Somebody to call, on a port of its own. */
async function withService(
  listener: RequestListener,
  work: (url: URL, server: Server) => Promise<void>,
  path = '/ping/0b1c-token',
): Promise<void> {
  const server = createServer(listener)
  const address = await listenAnywhere(server)
  try {
    await work(new URL(`http://${address}${path}`), server)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

async function beating(
  node: NodeHandle,
  url: URL,
  work: (heard: Heard[]) => Promise<void>,
  intervalMs = 20,
): Promise<void> {
  const { logger, heard } = hearing()
  // The interval is short, the machine may be slow.
  const ping: typeof httpPing = (to, options) => httpPing(to, { ...options, timeoutMs: 5_000 })
  const heartbeat = new Heartbeat({ node, clock: nodeClock, logger, ping, url, intervalMs })
  heartbeat.start()
  try {
    await work(heard)
  } finally {
    await heartbeat.close()
  }
}

const pair = { storage: 'simulated', nodes: ['a', 'b'] } as const

async function withPair(work: (cluster: TestCluster) => Promise<void>): Promise<void> {
  await withCluster(pair, async (cluster) => {
    await cluster.startAll()
    await untilInSync(cluster, 'a', ['a', 'b'])
    await work(cluster)
  })
}

const call = (url: URL, timeoutMs = 5_000) => httpPing(url, { timeoutMs, signal: new AbortController().signal })

describe('heartbeat', () => {
  test('primary and standby call while they replicate; both stop when they are cut off, and go on when that is over', () =>
    withPair(async (cluster) => {
      for (const name of ['a', 'b']) {
        await until(() => cluster.shard(name).status().lagMs !== undefined, `${name} knows how fresh it is`)
        let calls = 0
        await withService(
          (_request, response) => {
            calls += 1
            response.end('OK')
          },
          (url) =>
            beating(cluster.node(name), url, async (heard) => {
              await until(() => calls >= 3, `three calls of ${name}`)
              assert.deepEqual(
                heard.map((one) => one.message),
                ['heartbeat sent'],
              )
              cluster.isolate('b')
              await until(() => heard.length === 2, `${name} withholds`)
              assert.match(heard[1]!.message, /withheld/)
              assert.match(String(heard[1]!.fields.reason), /^shard main: /)
              const before = calls
              // Several intervals long nobody is called: shown by the looks that the node itself has taken.
              let looks = 0
              await until(() => ++looks > 30, 'thirty looks')
              assert.equal(calls, before)
              cluster.network.heal()
              await until(() => calls > before && heard.length > 2, `${name} calls again, and says so`)
              assert.deepEqual(
                heard.slice(2).map((one) => one.message),
                ['heartbeat sent'],
              )
            }),
        )
        await untilInSync(cluster, 'a', ['a', 'b'])
      }
    }))

  test('F43: a primary whose entries are not committed does not call, though its standby is connected', () =>
    withPair(async (cluster) => {
      let calls = 0
      await withService(
        (_request, response) => {
          calls += 1
          response.end()
        },
        (url) =>
          beating(cluster.node('a'), url, async (heard) => {
            await until(() => calls >= 1, 'a call')
            cluster.network.pauseDelivery()
            const write = cluster.shard('a').write([put('k', 'v')])
            await until(() => heard.some((one) => /withheld/.test(one.message)), 'withheld')
            const withheld = heard.find((one) => /withheld/.test(one.message))
            assert.match(String(withheld?.fields.reason), /is not committed yet|in sync and connected/)
            cluster.network.resumeDelivery()
            await write
          }),
      )
    }))

  test('nothing of the node goes out: a GET without body, credentials or name', () =>
    withPair(async (cluster) => {
      const requests: IncomingMessage[] = []
      await withService(
        (request, response) => {
          requests.push(request)
          response.end()
        },
        async (url) => {
          await beating(cluster.node('a'), url, () => until(() => requests.length > 0, 'a call'))
          const [request] = requests
          assert.equal(request!.method, 'GET')
          assert.equal(request!.url, '/ping/0b1c-token')
          assert.deepEqual(Object.keys(request!.headers).sort(), ['connection', 'host', 'user-agent'])
          assert.equal(request!.headers['user-agent'], 'understudy')
        },
      )
    }))

  test('failures are told once for each change, with the origin of the service and no more of its URL', () =>
    withPair(async (cluster) => {
      let status = 500
      let calls = 0
      await withService(
        (_request, response) => {
          calls += 1
          response.writeHead(status, { Location: 'http://127.0.0.1:1/elsewhere' }).end()
        },
        (url) =>
          beating(cluster.node('a'), url, async (heard) => {
            await until(() => calls >= 5, 'five calls')
            // A redirect is an answer of somebody else.
            status = 302
            const before = calls
            await until(() => calls >= before + 5, 'five more')
            status = 204
            await until(() => heard.length >= 2, 'taken')
            assert.deepEqual(
              heard.map((one) => one.message),
              ['heartbeat failed: its service was not reached', 'heartbeat sent'],
            )
            assert.match(String(heard[0]!.fields.error), /status 500/)
            assert.equal(heard[0]!.fields.service, url.origin)
            assert.ok(!JSON.stringify(heard).includes('token'))
          }),
      )
    }))

  test('I8: a service that never answers is given up in time, and closing waits for nothing', async () => {
    await withService(
      () => {},
      async (url) => {
        await assert.rejects(call(url, 50), { code: 'UNDERSTUDY_TIMEOUT', message: /50 ms/ })
        await withPair(async (cluster) => {
          const { logger } = hearing()
          let asked = 0
          const heartbeat = new Heartbeat({
            node: cluster.node('a'),
            clock: nodeClock,
            logger,
            url,
            intervalMs: 20,
            ping: (to, options) => {
              asked += 1
              return httpPing(to, { ...options, timeoutMs: 60_000 })
            },
          })
          heartbeat.start()
          await until(() => asked === 1, 'a call')
          await heartbeat.close()
          assert.equal(asked, 1, 'one at a time')
        })
      },
    )
    await assert.rejects(call(new URL('http://127.0.0.1:1/')), { code: 'UNDERSTUDY_UNAVAILABLE' })
  })

  test('a running node calls: a witness as long as its voter serves, and not after its end', async () => {
    const directory = await makeDirectory()
    let calls = 0
    try {
      await withService(
        (_request, response) => {
          calls += 1
          response.end()
        },
        async (url) => {
          const [port] = await findFreePorts(1)
          const at = `127.0.0.1:${port}`
          const witness = new ServeProcess(
            ['--witness', '--cluster', 'c', '--node', 'w', '--data', directory, '--listen', at].concat([
              ...['--coordinator', `builtin://w=${at}`, '--heartbeat-interval-ms', '1000'],
            ]),
            { env: { UNDERSTUDY_HEARTBEAT_URL: url.href } },
          )
          try {
            await until(
              () => calls >= 2,
              () => `two calls: ${witness.stderr}`,
              60_000,
            )
          } finally {
            assert.equal(await witness.end(), 0)
          }
          assert.match(witness.stderr, /"msg":"heartbeat sent"/)
          assert.ok(!witness.stderr.includes('token'), 'the path of the URL is not logged')
        },
      )
    } finally {
      await removeDirectory(directory)
    }
  })

  test('an answer without end is not read', () =>
    withService(
      (_request, response) => {
        response.writeHead(200)
        const more = () => {
          while (response.write(Buffer.alloc(65_536)));
          response.once('drain', more)
        }
        more()
      },
      (url) => call(url),
    ))

  test('TLS: the certificate is verified', async () => {
    const directory = await makeDirectory()
    try {
      const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
      execFileSync(
        'openssl',
        ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
          .concat(['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'])
          .concat(['-keyout', key, '-out', cert]),
        { stdio: 'ignore' },
      )
      const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => {
        response.end()
      })
      const url = `https://${await listenAnywhere(server)}/x`
      try {
        await assert.rejects(call(new URL(url)), { code: 'UNDERSTUDY_UNAVAILABLE', message: /self-signed/ })
        // Trusted by the process: as documented, with NODE_EXTRA_CA_CERTS.
        const module = new URL('../../../dist/platform/http-ping.js', import.meta.url).href
        const code = `const { httpPing } = await import(${JSON.stringify(module)})
          await httpPing(new URL(${JSON.stringify(url)}), { timeoutMs: 5000, signal: new AbortController().signal })`
        const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
          env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
          stdio: 'ignore',
        })
        const exit = await new Promise((resolve) => child.on('exit', resolve))
        assert.equal(exit, 0)
      } finally {
        server.closeAllConnections()
        server.close()
      }
    } finally {
      await removeDirectory(directory)
    }
  })

  test('the option is checked, and its URL is shown nowhere', () => {
    const node = { data: 'x', cluster: 'c', node: 'a', listen: '127.0.0.1:1', coordinator: 'static://b=127.0.0.1:2' }
    const problemsOf = (options: Record<string, unknown>) =>
      checkOptions({ ...node, ...options }).problems.map(({ path, message }) => `${path}: ${message}`)
    assert.deepEqual(problemsOf({ heartbeatUrl: 'https://hc.example/token', heartbeatIntervalMs: 60_000 }), [])
    for (const [options, expected] of [
      [{ heartbeatUrl: 'token' }, /^heartbeatUrl: is not a URL/],
      [{ heartbeatUrl: 'ftp://hc.example/token' }, /^heartbeatUrl: is not a URL/],
      [{ heartbeatUrl: 'https://me:token@hc.example/' }, /^heartbeatUrl: holds a user name/],
      [{ heartbeatUrl: 5 }, /^heartbeatUrl: must be text$/],
      [{ heartbeatUrl: 'https://hc.example/token', heartbeatIntervalMs: 10 }, /^heartbeatIntervalMs: must be/],
      [{ heartbeatIntervalMs: 5_000 }, /^heartbeatIntervalMs: has no meaning/],
      [{ heartbeatUrl: 'https://hc.example/token', coordinator: undefined }, /^heartbeatUrl: has no meaning/],
    ] as const) {
      const problems = problemsOf(options)
      assert.equal(problems.length, 1, JSON.stringify(problems))
      assert.match(problems[0]!, expected)
      assert.ok(!problems[0]!.includes('token'))
    }
    const { options } = checkOptions({ ...node, heartbeatUrl: 'https://hc.example/token' })
    const described = JSON.stringify(describeOptions(options!))
    assert.ok(described.includes('https://hc.example, every 10000 ms') && !described.includes('token'))
    const env = { UNDERSTUDY_HEARTBEAT_URL: 'token', UNDERSTUDY_COORDINATOR: node.coordinator }
    assert.ok(!JSON.stringify(checkConfig({ env }).problems).includes('token"'))
  })
})
