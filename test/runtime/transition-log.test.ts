/** One line of the log for each transition, with fields that people may search for. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { createPinoLogger } from '#src/platform/pino-logger.js'
import { put, type TestCluster, until, untilInSync, withCluster } from '../support/cluster.js'

interface Line extends Record<string, unknown> {
  readonly level: string
  readonly time: string
  readonly msg: string
  readonly node: string
  readonly shard: string
  readonly transition: string
}

function isTransition(line: Record<string, unknown>): line is Line {
  return line.transition !== undefined
}

/** Every line that a node of the cluster logs, as it would stand in a file. */
function listen(): {
  readonly lines: Line[]
  readonly loggerOf: (node: string) => ReturnType<typeof createPinoLogger>
} {
  const lines: Line[] = []
  const write = (text: string) => {
    assert.ok(text.endsWith('\n') && text.indexOf('\n') === text.length - 1, 'one line')
    const line = JSON.parse(text) as Record<string, unknown>
    if (isTransition(line)) lines.push(line)
  }
  return { lines, loggerOf: (node) => createPinoLogger({ level: 'info', fields: { node }, destination: { write } }) }
}

const primaryOf = (cluster: TestCluster, names = cluster.names) =>
  names.find((name) => cluster.shard(name).status().state === 'primary')

const page = readFileSync(new URL('../../../docs/OPERATING.md', import.meta.url), 'utf8')

describe('log of transitions', () => {
  test('state, role, in-sync set, bootstrap and primary each have a line with their fields', async () => {
    const { lines, loggerOf } = listen()
    const of = (transition: string, node?: string) =>
      lines.filter((line) => line.transition === transition && (node === undefined || line.node === node))
    await withCluster({ storage: 'simulated', coordinator: 'memory', logger: loggerOf }, async (cluster) => {
      await cluster.startAll()
      await until(() => primaryOf(cluster) !== undefined, 'a primary')
      const first = primaryOf(cluster)!
      await untilInSync(cluster, first, ['a', 'b', 'c'])
      await cluster.shard(first).write([put('secret-key', 'secret-value')])

      const roles = of('role', first)
      assert.equal(roles.at(-1)?.to, 'primary')
      assert.match(String(roles.at(-1)?.epoch), new RegExp(`^\\d+@${first}$`))
      const states = of('state', first)
      assert.equal(states.at(-1)?.to, 'primary')
      for (const [index, line] of states.entries()) {
        if (index > 0) assert.equal(line.from, states[index - 1]!.to, 'no state is left out')
        assert.ok(typeof line.event === 'string' && typeof line.reason === 'string' && line.reason !== '')
      }
      const added = of('in-sync', first).flatMap((line) => line.added as string[])
      assert.deepEqual(
        added.sort(),
        ['a', 'b', 'c'].filter((name) => name !== first),
      )
      assert.deepEqual([...(of('in-sync', first).at(-1)!.inSync as string[])].sort(), ['a', 'b', 'c'])
      const joined = cluster.names.find((name) => name !== first)!
      const steps = of('bootstrap', joined).map((line) => line.to)
      assert.deepEqual([steps.at(-1), steps.includes('transferring')], ['done', true])
      assert.ok(of('bootstrap', joined).some((line) => line.source === first))

      cluster.kill(first)
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'another primary')
      const second = primaryOf(cluster, rest)!
      await until(() => of('primary', second).length === 1, 'the line of the failover')
      const [failover] = of('primary', second)
      assert.equal(failover!.kind, 'failover')
      assert.match(String(failover!.epoch), new RegExp(`^\\d+@${second}$`))
      assert.ok((failover!.tookMs as number) > 0)
    })
    const text = JSON.stringify(lines)
    assert.ok(!text.includes('secret'), 'no keys and values')
    for (const { node, shard, time, msg } of lines) {
      assert.ok(node !== undefined && shard === 'main' && msg !== '' && !Number.isNaN(Date.parse(time)))
    }
    // What is logged is what is documented.
    for (const transition of new Set(lines.map((line) => line.transition))) {
      const row = page.split('\n').find((one) => one.startsWith(`| \`${transition}\` `))
      assert.ok(row !== undefined, `docs/OPERATING.md describes transition ${transition}`)
      for (const line of of(transition)) {
        const own = Object.keys(line).filter(
          (key) => !['level', 'time', 'node', 'shard', 'transition', 'msg'].includes(key),
        )
        for (const field of own) assert.ok(row.includes(`\`${field}\``), `${transition}: ${field} is documented`)
      }
    }
  })

  test('a state that somebody should look at is a warning', async () => {
    const { lines, loggerOf } = listen()
    await withCluster({ storage: 'simulated', nodes: ['a', 'b'], logger: loggerOf }, async (cluster) => {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b'])
      // A former primary that starts alone cannot know whether there is a higher epoch (C8).
      await cluster.stop('b')
      cluster.kill('a')
      await cluster.start('a')
      await until(() => cluster.shard('a').role === 'fenced', 'a is fenced')
      const line = lines.findLast((one) => one.transition === 'state')
      assert.deepEqual([line?.to, line?.level], ['fenced', 'warn'])
    })
  })
})
