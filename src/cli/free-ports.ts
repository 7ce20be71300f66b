import { randomInt } from 'node:crypto'
import { createServer, type Server } from 'node:net'
import { UnderstudyError } from '../errors.js'

/**
 * Below the range from which systems give ports to outgoing connections: a node that is killed and started again
 * finds its port free.
 */
const lowestPort = 20_000
const highestPort = 30_000
const attemptsMax = 200

/** Ports of the loopback interface on which nobody listens now, all different. */
export async function findFreePorts(count: number): Promise<readonly number[]> {
  const held: Server[] = []
  const ports: number[] = []
  try {
    for (let attempt = 0; ports.length < count; attempt++) {
      if (attempt === attemptsMax) throw new UnderstudyError('ADDRESS_IN_USE', 'no free port found on 127.0.0.1')
      const port = randomInt(lowestPort, highestPort)
      const server = await listen(port)
      if (server === undefined) continue
      held.push(server)
      ports.push(port)
    }
    return ports
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined)
      else reject(error)
    })
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => resolve(server))
  })
}
