import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { type Timings, timingsOf } from '#src/core/timings.js'
import { withServer } from '../support/fake-server.js'

const page = readFileSync(new URL('../../../docs/FAILOVER.md', import.meta.url), 'utf8')

function rows(pattern: RegExp): RegExpExecArray[] {
  return page
    .split('\n')
    .map((line) => pattern.exec(line))
    .filter((match) => match !== null)
}

describe('docs/FAILOVER.md', () => {
  test('every time is there with the default that it has', () => {
    const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })
    const described = rows(/^\| `(\w+Ms)` *\|[^|]*\| (\d+) ms *\|/)
    assert.deepEqual(Object.fromEntries(described.map(([, name, ms]) => [name, Number(ms)])), timings satisfies Timings)
  })

  test('every metric that it names is one that /metrics has', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.inSync = ['a', 'b']
      const { text } = await ask('/metrics')
      const named = rows(/^\| `(understudy_\w+)/).map(([, name]) => name!)
      assert.ok(named.length >= 7)
      for (const name of named) assert.ok(text.includes(`# TYPE ${name} `), name)
    })
  })

  test('every answer to "can we fail over now?" that it lists is one that the code gives', () => {
    const code = readFileSync(new URL('../../../src/core/failover-status.ts', import.meta.url), 'utf8')
    const listed = rows(/^\| (?:no|yes, to b): ([^|…;]+)/)
    assert.ok(listed.length >= 4)
    for (const [, answer] of listed) {
      const words = answer!
        .trim()
        .replace(/\bfrom$/, '')
        .trim()
      // Names and figures are examples.
      const text = new RegExp(words.replace(/\b[abc]\b|\b\d\b|fenced/g, String.raw`\$\{[^}]+\}`))
      assert.match(code, text)
    }
  })
})
