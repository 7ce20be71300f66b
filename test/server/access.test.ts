import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Credentials, noCredentials } from '#src/access/credentials.js'
import { isFailure } from '#src/errors.js'
import type { LogFields, Logger } from '#src/ports/logger.js'
import { testCredentials } from '../support/credentials.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { withServer } from '../support/fake-server.js'

const tokens = {
  read: 'canary-read-token-00',
  write: 'canary-write-token-0',
  admin: 'canary-admin-token-0',
  replicate: 'canary-replicate-tok',
} as const

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const text = Object.entries(tokens)
  .map(([scope, token]) => `${scope}:${token}`)
  .join(' ')

/** Keeps what would be logged. */
function recorder(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = []
  const take = (fields: LogFields, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const logger: Logger = { debug: take, info: take, warn: take, error: take, child: () => logger }
  return { logger, lines }
}

function tokenFile(...entries: ReadonlyArray<readonly [token: string, scope: string, expires?: string]>): string {
  return entries
    .map(([token, scope, expires]) => {
      const until = expires === undefined ? '' : `expires = ${expires}\n`
      return `[[token]]\ntoken = "${token}"\nscopes = ["${scope}"]\n${until}`
    })
    .join('\n')
}

describe('scopes', () => {
  const requests: ReadonlyArray<readonly [method: string, path: string, allowed: ReadonlyArray<keyof typeof tokens>]> =
    [
      ['GET', '/v1/kv/k', ['read']],
      ['HEAD', '/v1/kv/k', ['read']],
      ['GET', '/v1/kv', ['read']],
      ['PUT', '/v1/kv/k', ['write']],
      ['DELETE', '/v1/kv/k', ['write']],
      ['POST', '/v1/batch', ['write']],
      ['GET', '/v1/status', ['read', 'write', 'admin', 'replicate']],
      ['GET', '/metrics', ['read', 'write', 'admin', 'replicate']],
      ['POST', '/v1/promote', ['admin']],
      ['POST', '/v1/switchover', ['admin']],
      ['POST', '/v1/in-sync', ['admin']],
    ]
  for (const [method, path, allowed] of requests) {
    test(`${method} ${path} is for ${allowed.join(', ')}`, async () => {
      await withServer(
        async ({ ask, node }) => {
          for (const scope of ['read', 'write', 'admin', 'replicate'] as const) {
            const answer = await ask(path, { method, headers: bearer(tokens[scope]) })
            if (allowed.includes(scope)) assert.ok(answer.status !== 401 && answer.status !== 403, answer.text)
            else {
              assert.equal(answer.status, 403, `${scope}: ${answer.text}`)
              if (method === 'HEAD') continue
              const { code, message, outcome } = answer.json()
              assert.deepEqual([code, outcome], ['UNDERSTUDY_FORBIDDEN', 'none'])
              assert.equal(message, `this needs the scope "${allowed[0]}"; these credentials have: ${scope}`)
            }
          }
          const calls = node.main.calls.length
          assert.equal((await ask(path, { method })).status, 401)
          assert.equal((await ask(path, { method, headers: bearer('canary-wrong-token-0') })).status, 401)
          assert.equal(node.main.calls.length, calls, 'nothing of these reached the node')
        },
        { credentials: testCredentials({ tokens: text }) },
      )
    })
  }

  test('probes ask for nothing, unknown paths and methods tell strangers nothing', async () => {
    await withServer(
      async ({ ask }) => {
        for (const path of ['/livez', '/readyz']) assert.equal((await ask(path)).status, 200)
        for (const path of ['/nothing', '/v1/kv-key'])
          assert.equal((await ask(path)).status, path === '/nothing' ? 401 : 404)
        assert.equal((await ask('/v1/batch')).status, 401)
        assert.equal((await ask('/v1/batch', { headers: bearer(tokens.read) })).status, 405)
      },
      { credentials: testCredentials({ tokens: text }) },
    )
  })
})

describe('rotation', () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))

  test('old and new are valid together while both are in the file, and the old one not after', async () => {
    const file = join(directory, 'access.toml')
    const [old, next] = ['canary-old-token-000', 'canary-new-token-000'] as const
    writeFileSync(file, tokenFile([old, 'read']))
    const { logger, lines } = recorder()
    const credentials = new Credentials({ ...noCredentials, accessFile: file }, logger, 60_000)
    await withServer(
      async ({ ask }) => {
        const status = async (token: string) => (await ask('/v1/status', { headers: bearer(token) })).status
        assert.deepEqual([await status(old), await status(next)], [200, 401])
        // As editors and configuration tools do: a new file takes the place of the old one.
        writeFileSync(`${file}.new`, tokenFile([old, 'read'], [next, 'read']))
        renameSync(`${file}.new`, file)
        credentials.check()
        assert.deepEqual([await status(old), await status(next)], [200, 200])
        writeFileSync(file, tokenFile([next, 'read']))
        credentials.check()
        assert.deepEqual([await status(old), await status(next)], [401, 200])
        // What cannot be used changes nothing, and is said.
        for (const bad of ['[[token]]\nscopes = ["read"]', `[[token]]\ntoken = "${next}`, '', undefined]) {
          if (bad === undefined) rmSync(file)
          else writeFileSync(file, bad)
          credentials.check()
          const answer = await ask('/v1/status', { headers: bearer(next) })
          assert.equal(answer.status, 200, String(bad))
          const { problem } = answer.json().access as { problem?: string }
          assert.match(problem ?? '', /^accessFile: /)
        }
        writeFileSync(file, tokenFile([old, 'admin']))
        credentials.check()
        assert.equal(credentials.status.problem, undefined)
        assert.deepEqual([await status(old), await status(next)], [200, 401])
      },
      { credentials, logger },
    )
    credentials.close()
    const log = lines.join('\n')
    assert.match(log, /credentials were read anew/)
    assert.match(log, /the old ones stay/)
    assert.ok(!log.includes('canary'), log)
  })

  test('the file is looked at by itself', async () => {
    const file = join(directory, 'watched.toml')
    writeFileSync(file, tokenFile(['canary-first-token-0', 'read']))
    const credentials = new Credentials({ ...noCredentials, accessFile: file }, recorder().logger, 10)
    const changed = new Promise<void>((resolve) => {
      credentials.onChange(resolve)
    })
    writeFileSync(file, tokenFile(['canary-first-token-0', 'read'], ['canary-second-token', 'read']))
    const keepAlive = setInterval(() => {}, 1_000)
    await changed
    clearInterval(keepAlive)
    assert.equal(credentials.status.tokens, 2)
    credentials.close()
  })

  for (const [what, path] of [
    ['an event stream', '/v1/events'],
    ['the stream of the status page', '/page/live'],
  ] as const)
    test(`${what} ends when its token is taken out of the file`, async () => {
      const file = join(directory, `stream${path.replaceAll('/', '-')}.toml`)
      const token = 'canary-stream-token-'
      writeFileSync(file, tokenFile([token, 'read'], ['canary-other-token-0', 'read']))
      const credentials = testCredentials({ accessFile: file })
      await withServer(
        async ({ address }) => {
          const request = get(`http://${address}${path}`, { headers: bearer(token), agent: false })
          const [response] = (await once(request, 'response')) as [IncomingMessage]
          assert.equal(response.statusCode, 200)
          response.resume()
          writeFileSync(file, tokenFile(['canary-other-token-0', 'read']))
          credentials.check()
          await once(response, 'end')
        },
        { credentials, times: { heartbeatMs: 10 } },
      )
      credentials.close()
    })

  test('an expired token is refused with the moment it expired', async () => {
    const file = join(directory, 'expired.toml')
    const token = 'canary-expired-token'
    writeFileSync(file, tokenFile([token, 'read', '2020-01-01T00:00:00Z']))
    await withServer(
      async ({ ask }) => {
        const answer = await ask('/v1/status', { headers: bearer(token) })
        assert.equal(answer.status, 401)
        assert.match(String(answer.json().message), /token 1 expired at 2020-01-01T00:00:00.000Z/)
        assert.ok(!answer.text.includes('canary'))
      },
      { credentials: testCredentials({ accessFile: file }) },
    )
  })

  test('sources that cannot be used do not start', () => {
    assert.throws(
      () => testCredentials({ accessFile: join(directory, 'nowhere.toml') }),
      (error) => isFailure(error, 'CONFIG') && /no such file/.test(error.message),
    )
  })
})
