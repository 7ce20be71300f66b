import { silentLogger } from '#src/ports/logger.js'
import { createHttpServer, type HttpServer, type HttpServerOptions } from '#src/server/http-server.js'
import { testCredentials } from './credentials.js'
import { FakeNode } from './fake-node.js'
import { type Answer, type Ask, ask } from './http.js'

export interface FakeServer {
  readonly node: FakeNode
  readonly server: HttpServer
  readonly address: string
  ask(path: string, options?: Ask): Promise<Answer>
}

/** A real HTTP server on a free port over a fake node, closed after `use`. */
export async function withServer(
  use: (fake: FakeServer) => Promise<void>,
  options: Partial<HttpServerOptions> & { readonly secret?: string } = {},
): Promise<void> {
  const { secret, ...more } = options
  const node = new FakeNode()
  const server = createHttpServer({
    node,
    listen: { host: '127.0.0.1', port: 0 },
    credentials: testCredentials({ secret }),
    logger: silentLogger,
    ...more,
  })
  const address = await server.listen()
  try {
    await use({ node, server, address, ask: (path, request) => ask(address, path, request) })
  } finally {
    await server.close()
  }
}
