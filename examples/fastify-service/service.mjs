// A service with its database inside: orders that are kept on three processes. Started three times:
//   node service.mjs a 8001 7401      node service.mjs b 8002 7402      node service.mjs c 8003 7403
// and a witness beside them:          understudy serve --witness --node w --data data-w --listen 127.0.0.1:7400
import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import { open, UnderstudyError } from 'understudy-db'

const [node, servicePort, databasePort] = process.argv.slice(2)
const { COORDINATOR = 'builtin://w=127.0.0.1:7400', DATA = `data-${node}` } = process.env

// Resolves when this node can be read, whoever is primary.
const db = await open(DATA, {
  cluster: 'orders',
  node,
  listen: `127.0.0.1:${databasePort}`,
  coordinator: COORDINATOR,
  valueEncoding: 'json',
})
db.on('role', ({ role, reason }) => app.log.info({ role, reason }, 'role'))

const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'warn' } })

app.post(
  '/orders',
  { schema: { body: { type: 'object', required: ['item'], properties: { item: { type: 'string', minLength: 1 } } } } },
  async (request, reply) => {
    // Named by the caller, so that an order that was sent twice is one order: what a write with an unknown outcome needs.
    const id = request.headers['idempotency-key'] ?? randomUUID()
    const order = { id, item: request.body.item }
    // On a standby it is sent to the primary. It resolves when two nodes have it on disk, and fails with a code otherwise.
    await db.put(`order:${id}`, order, { timeoutMs: 5_000 })
    return reply.code(201).send(order)
  },
)

app.get('/orders/:id', async (request, reply) => {
  const order = await db.get(`order:${request.params.id}`)
  return order ?? reply.code(404).send({ error: 'no such order' })
})

app.get('/orders', async () => {
  const orders = []
  for await (const order of db.values({ gte: 'order:', lt: 'order;', limit: 1_000 })) orders.push(order)
  return orders
})

app.get('/health', async () => ({ node, role: db.role }))

app.setErrorHandler((error, _request, reply) => {
  if (!(error instanceof UnderstudyError)) return reply.send(error)
  // "unknown": it may have been stored. With an idempotency key the caller just sends it again.
  const { code, outcome, retryable, hint } = error
  return reply.code(retryable ? 503 : 500).send({ code, outcome, hint })
})

await app.listen({ host: '127.0.0.1', port: Number(servicePort) })
console.log(`node ${node} serves orders on http://127.0.0.1:${servicePort}`)

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    await app.close()
    // A primary hands over before it ends.
    await db.close()
  })
}
