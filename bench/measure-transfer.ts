import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'

const mebibyte = 1024 * 1024

/** The yardstick: bytes over loopback TCP into a file, and one fsync. In seconds. */
export async function measureTransfer(path: string, mebibytes: number): Promise<number> {
  const piece = randomBytes(mebibyte)
  const server = createServer(async (socket) => {
    for (let count = 0; count < mebibytes; count++) {
      if (!socket.write(piece)) await once(socket, 'drain')
    }
    socket.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const startMs = performance.now()
  const file = await open(path, 'w')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  for await (const bytes of socket) await file.write(bytes as Uint8Array)
  await file.sync()
  await file.close()
  const seconds = (performance.now() - startMs) / 1000
  server.close()
  return seconds
}
