import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createJsonNarrator } from '#src/cli/demo-narrator.js'
import { runDemo } from '#src/cli/demo-story.js'

test('the demo: a standby built anew, a takeover that nobody asks for, a rejoin, a switchover, and nothing acknowledged is lost', {
  timeout: 120_000,
}, async () => {
  const events: Array<Record<string, unknown>> = []
  const narrator = createJsonNarrator((text) => events.push(JSON.parse(text) as Record<string, unknown>))
  const { good } = await runDemo({ entries: 5_000, keep: false }, narrator)
  assert.ok(good, JSON.stringify(events, null, 1))
  const names = events.map((event) => event.event).filter((event) => event !== 'bootstrap' && event !== 'node')
  assert.deepEqual(names, [
    'formed',
    'left',
    'loaded',
    'bootstrapped',
    'killed',
    'taken-over',
    'rejoined',
    'switched-over',
    'equal',
    'compared',
    'summary',
  ])
  const summary = events.at(-1)!
  assert.equal(summary.lost, 0)
  assert.equal(summary.nodes, 3)
  assert.ok((summary.acknowledged as number) > 5_000)
  assert.ok((summary.takeoverMs as number) > 0)
  assert.ok((summary.switchoverPauseMs as number) > 0)
})
