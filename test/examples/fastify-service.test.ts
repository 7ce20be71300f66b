/** examples/fastify-service: a service on three processes goes on when its primary is killed, and forgets no order. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { findFreePorts } from '#src/cli/free-ports.js'
import { until } from '../support/cluster.js'
import { ServeProcess } from '../support/command.js'
import { ExampleProcess, withExample } from '../support/example.js'
import { ask } from '../support/http.js'

const names = ['a', 'b', 'c'] as const
type Name = (typeof names)[number]

test(
  'orders are taken before, while and after the primary is killed, and none that was taken is lost',
  { timeout: 180_000 },
  () =>
    withExample('fastify-service', ['fastify'], async (directory) => {
      const [witnessPort, ...ports] = await findFreePorts(7)
      const at = (name: Name) => `127.0.0.1:${ports[names.indexOf(name)]}`
      const coordinator = `builtin://w=127.0.0.1:${witnessPort}`
      const witness = new ServeProcess(
        ['--witness', '--cluster', 'orders', '--node', 'w', '--data', join(directory, 'data-w')].concat([
          ...['--listen', `127.0.0.1:${witnessPort}`, '--coordinator', coordinator],
        ]),
      )
      await witness.url()
      const running = new Map<Name, ExampleProcess>()
      const start = (name: Name) => {
        const index = names.indexOf(name)
        const args = ['service.mjs', name, String(ports[index]), String(ports[index + 3])]
        running.set(name, new ExampleProcess(directory, args, { COORDINATOR: coordinator }))
      }
      const order = async (name: Name, id: string) => {
        const headers = { 'content-type': 'application/json', 'idempotency-key': id }
        return ask(at(name), '/orders', { method: 'POST', headers, body: JSON.stringify({ item: `item of ${id}` }) })
      }
      const roleOf = async (name: Name) => (await ask(at(name), '/health')).json().role
      const primaryOf = async (among: readonly Name[]) => {
        for (const name of among) if ((await roleOf(name)) === 'primary') return name
        return undefined
      }
      const taken = new Set<string>()
      /** Sends it until it is taken, at whoever serves: the caller's part of the bargain. */
      const take = async (id: string, among: readonly Name[]) => {
        let last = ''
        let attempt = 0
        await until(
          async () => {
            const answer = await order(among[attempt++ % among.length]!, id).catch((error: Error) => error)
            if (answer instanceof Error) last = answer.message
            else {
              last = answer.text
              if (answer.status !== 201 && answer.status !== 503) throw new Error(`${answer.status}: ${last}`)
              if (answer.status === 201) taken.add(id)
            }
            return taken.has(id)
          },
          () => `order ${id} is taken: ${last}`,
          60_000,
        )
      }
      try {
        for (const name of names) start(name)
        for (const name of names) await running.get(name)!.says(`node ${name} serves orders`)
        for (let index = 0; index < 30; index++) await take(`before-${index}`, names)
        assert.equal((await order('b', '')).status, 201, 'an order without a name gets one')
        assert.equal(
          (
            await ask(at('a'), '/orders', {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: '{}',
            })
          ).status,
          400,
        )
        assert.equal((await ask(at('c'), '/orders/nobody')).status, 404)

        const first = await primaryOf(names)
        assert.ok(first !== undefined)
        const rest = names.filter((name) => name !== first)
        const during = Array.from({ length: 30 }, (_, index) => take(`during-${index}`, rest))
        assert.equal(await running.get(first)!.end('SIGKILL'), null)
        await Promise.all(during)
        await until(async () => (await primaryOf(rest)) !== undefined, 'another primary')
        for (let index = 0; index < 30; index++) await take(`after-${index}`, rest)

        start(first)
        await running.get(first)!.says(`node ${first} serves orders`)
        for (const name of names) {
          const held = async () => {
            const { text } = await ask(at(name), '/orders')
            const ids = new Set((JSON.parse(text) as Array<{ id: string }>).map(({ id }) => id))
            return [...taken].filter((id) => !ids.has(id))
          }
          let missing: string[] = []
          await until(
            async () => {
              missing = await held()
              return missing.length === 0
            },
            () => `every order on ${name}: missing ${missing.join(', ')}`,
            30_000,
          )
        }
        assert.equal(taken.size, 90)
        // A clean end of each: exit code 0, whoever is primary by then.
        for (const name of names) assert.equal(await running.get(name)!.end('SIGTERM'), 0, running.get(name)!.output)
      } finally {
        for (const one of running.values()) await one.end('SIGKILL')
        await witness.end()
      }
    }),
)
