import { connect, createServer, type Server, type Socket } from 'node:net'
import { parseAddress } from '#src/core/address.js'
import { closeServer, listenAnywhere } from './listen.js'

interface Link {
  readonly near: Socket
  readonly far: Socket
}

/** Stands between one client and one server, and does what networks do: nothing is lost within a connection that heals. */
export class TcpProxy {
  address = ''
  private readonly server: Server
  private readonly links = new Set<Link>()
  private target: string
  private refusing = false
  private requestsHeld = false
  private repliesHeld = false
  private delayMs = 0

  private constructor(target: string) {
    this.target = target
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.accept(near))
  }

  static async open(target: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    proxy.address = await listenAnywhere(proxy.server)
    return proxy
  }

  /** Ends all connections and takes no more. */
  refuse(): void {
    this.refusing = true
    this.breakAll()
  }

  /** Connections stay, and new ones are taken; nothing passes. */
  silence(): void {
    this.requestsHeld = true
    this.repliesHeld = true
  }

  holdReplies(): void {
    this.repliesHeld = true
  }

  /** For bytes that come from now on. */
  delay(delayMs: number): void {
    this.delayMs = delayMs
  }

  /** All passes again; what was held first. */
  heal(): void {
    this.refusing = false
    this.requestsHeld = false
    this.repliesHeld = false
    this.delayMs = 0
    for (const { near, far } of this.links) {
      near.resume()
      far.resume()
      near.emit('healed')
      far.emit('healed')
    }
  }

  breakAll(): void {
    for (const { near, far } of this.links) {
      near.destroy()
      far.destroy()
    }
  }

  async close(): Promise<void> {
    this.breakAll()
    await closeServer(this.server)
  }

  private accept(near: Socket): void {
    near.on('error', () => near.destroy())
    if (this.refusing) {
      near.destroy()
      return
    }
    const { host, port } = parseAddress(this.target)!
    const far = connect({ host, port, noDelay: true, allowHalfOpen: true })
    const link = { near, far }
    this.links.add(link)
    far.on('error', () => far.destroy())
    this.pipe(near, far, () => this.requestsHeld)
    this.pipe(far, near, () => this.repliesHeld)
    for (const socket of [near, far]) {
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        this.links.delete(link)
      })
    }
  }

  private pipe(from: Socket, to: Socket, isHeld: () => boolean): void {
    let queue = Promise.resolve()
    const pass = (step: () => void) => {
      const { delayMs } = this
      const delayed = delayMs === 0 ? undefined : new Promise((resolve) => setTimeout(resolve, delayMs))
      queue = queue.then(async () => {
        await delayed
        while (isHeld() && !from.destroyed)
          await new Promise((resolve) => from.once('healed', resolve).once('close', resolve))
        if (!to.destroyed) step()
      })
    }
    from.on('data', (bytes) => pass(() => to.write(bytes)))
    from.on('end', () => pass(() => to.end()))
  }
}
