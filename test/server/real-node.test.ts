import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { resolveOptions } from '#src/config/check-options.js'
import { lifecycleStates } from '#src/core/lifecycle.js'
import { silentLogger } from '#src/ports/logger.js'
import { startNode } from '#src/start-node.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { ask } from '../support/http.js'

/** A node as `understudy serve` runs it: journal, engine, runtime and server together. */
async function withNode(use: (address: string) => Promise<void>): Promise<void> {
  const directory = await makeDirectory()
  try {
    const options = { data: `${directory}/data`, cluster: 'shop', node: 'a', listen: '127.0.0.1:0' }
    const running = await startNode(resolveOptions(options), { logger: silentLogger })
    try {
      await running.node.shard().ready()
      await use(running.address!)
    } finally {
      await running.close()
    }
  } finally {
    await removeDirectory(directory)
  }
}

describe('the server over the shipped runtime', () => {
  test('what is written is read back, alone, as a range and at its position', async () => {
    await withNode(async (address) => {
      const put = await ask(address, '/v1/kv/k1', { method: 'PUT', body: 'v1' })
      assert.equal(put.status, 204, put.text)
      const batch = [
        { type: 'put', key: 'k2', value: 'v2' },
        { type: 'del', key: 'k1' },
        { type: 'put', keyBase64: '/w==', valueBase64: '/w==' },
      ]
      const written = await ask(address, '/v1/batch', { method: 'POST', body: JSON.stringify(batch) })
      assert.equal(written.status, 200, written.text)
      const position = String(written.headers['understudy-position'])
      const got = await ask(address, '/v1/kv/k2', { headers: { 'Understudy-Min-Position': position } })
      assert.equal(got.text, 'v2')
      assert.equal((await ask(address, '/v1/kv/k1')).status, 404)
      const range = await ask(address, '/v1/kv')
      assert.equal(range.text, '{"key":"k2","value":"v2"}\n{"keyBase64":"/w==","valueBase64":"/w=="}\n')
      assert.equal(range.headers['understudy-position'], position)
    })
  })

  test('a position that cannot be reached ends in time, one of another history is refused', async () => {
    await withNode(async (address) => {
      const after = await ask(address, '/v1/kv/k', {
        headers: { 'Understudy-Min-Position': '1@a.99', 'Understudy-Timeout-Ms': '50' },
      })
      assert.equal(after.status, 504)
      assert.equal(after.json().code, 'UNDERSTUDY_TIMEOUT')
      const other = await ask(address, '/v1/kv/k', { headers: { 'Understudy-Min-Position': '7@z.1' } })
      assert.equal(other.status, 409)
      assert.equal(other.json().code, 'UNDERSTUDY_DIVERGED')
    })
  })

  test('every transition in the metrics is between two states of the lifecycle', async () => {
    await withNode(async (address) => {
      await ask(address, '/v1/kv/k', { method: 'PUT', body: 'v' })
      const { text } = await ask(address, '/metrics')
      const transitions = [...text.matchAll(/^understudy_state_transitions_total\{.*from="(.*)",to="(.*)"\} [1-9]/gm)]
      assert.ok(transitions.length > 0, text)
      for (const [, from, to] of transitions) {
        assert.ok((lifecycleStates as readonly string[]).includes(from!), from)
        assert.ok((lifecycleStates as readonly string[]).includes(to!), to)
      }
      assert.match(text, /^understudy_commit_seconds_count\{shard="main"\} [1-9]/m)
      assert.match(text, /^understudy_journal_flush_seconds_count\{shard="main"\} [1-9]/m)
      assert.match(text, /^understudy_role\{shard="main",role="primary"\} 1$/m)
    })
  })
})
