import type { ServerResponse } from 'node:http'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Logger } from '../ports/logger.js'
import type { NodeHandle, NodeStatus } from '../runtime/handle.js'
import type { LivePicture, PictureHistory, PictureSample } from './live-picture.js'
import { type PeerAccess, type PeerAddress, PeerStatuses } from './peer-statuses.js'
import { takeSample } from './picture-sample.js'
import { Timeline } from './timeline.js'

export interface LivePicturesOptions {
  /** Throws while the node is starting. */
  readonly node: () => NodeHandle
  readonly logger: Logger
}

interface Watcher {
  readonly response: ServerResponse
  readonly access: PeerAccess
  /** Since when it has taken nothing; undefined: it takes what it gets. */
  stalledSinceMs: number | undefined
}

/**
 * So long a picture waits for the others: all that is in it shall be of one moment. The first one waits longer, so that
 * the page does not begin with holes. Who is slower is seen in the next one.
 */
const answersMs = 150
const firstAnswersMs = 400

/**
 * Takes a picture of the cluster once a second, keeps the figures of the last minutes, and sends it to everybody who
 * watches. The others are asked only while somebody does.
 */
export class LivePictures {
  private readonly options: LivePicturesOptions
  private readonly watchers = new Set<Watcher>()
  private readonly samples: PictureSample[] = []
  private readonly timeline = new Timeline()
  private peers: PeerStatuses | undefined
  private unsubscribe: (() => void) | undefined
  private readonly timer: NodeJS.Timeout
  private closed = false

  constructor(options: LivePicturesOptions) {
    this.options = options
    this.timer = setInterval(() => this.onInterval(), limits.pictureIntervalMs)
    this.timer.unref()
  }

  /** Sends pictures until either side ends it; throws if there are too many watchers or the node cannot say anything. */
  async watch(response: ServerResponse, access: PeerAccess): Promise<void> {
    if (this.closed) throw new UnderstudyError('CLOSED', 'the node is closing')
    if (this.watchers.size >= limits.pictureWatchersMax) {
      throw new UnderstudyError('BACKPRESSURE', `${this.watchers.size} watch this node already; that is the limit`, {
        hint: 'close a status page, or open that of another node',
      })
    }
    // Before anything is promised: a node that is starting says so.
    this.statusOf()
    const watcher: Watcher = { response, access, stalledSinceMs: undefined }
    this.watchers.add(watcher)
    response.once('close', () => this.watchers.delete(watcher))
    response.on('drain', () => {
      watcher.stalledSinceMs = undefined
    })
    await this.askPeers(access, firstAnswersMs)
    if (this.closed) throw new UnderstudyError('CLOSED', 'the node is closing')
    const picture = this.picture(this.statusOf(), [])
    if (response.destroyed) return
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      // A proxy that gathers would show an old picture.
      'X-Accel-Buffering': 'no',
    })
    const history: PictureHistory = {
      intervalMs: limits.pictureIntervalMs,
      samples: this.samples,
      events: this.timeline.events,
    }
    send(watcher, 'history', history)
    send(watcher, 'picture', picture)
  }

  /** Ends all streams. Idempotent. */
  close(): void {
    this.closed = true
    clearInterval(this.timer)
    this.unsubscribe?.()
    for (const { response } of this.watchers) response.end()
    this.watchers.clear()
  }

  private onInterval(): void {
    this.take().catch((thrown: unknown) => {
      // While it is starting, or closed: watchers are told, and see when it is over.
      const error = toUnderstudyError(thrown, 'taking the picture')
      this.options.logger.debug({ error: error.message }, 'no picture')
      for (const watcher of this.watchers) send(watcher, 'failure', error)
    })
  }

  private async take(): Promise<void> {
    this.follow(this.statusOf())
    const [watcher] = this.watchers
    if (watcher !== undefined) await this.askPeers(watcher.access, answersMs)
    if (this.closed) return
    const picture = this.picture(this.statusOf(), undefined)
    this.samples.push(picture.sample)
    if (this.samples.length > limits.pictureSamplesMax) this.samples.shift()
    if (this.watchers.size === 0) return
    const text = eventText('picture', picture)
    for (const watcher of this.watchers) sendText(watcher, text)
  }

  /** `events` undefined: those that nobody was sent yet. */
  private picture(self: NodeStatus, events: LivePicture['events'] | undefined): LivePicture {
    const atMs = Date.now()
    const peers = this.watchers.size === 0 ? [] : this.peersOf(self).answers(peerAddresses(self))
    if (events === undefined) this.timeline.onPicture(atMs, self, peers)
    return {
      atMs,
      self,
      peers,
      sample: takeSample(atMs, self, peers),
      events: events ?? this.timeline.takeFresh(),
    }
  }

  private async askPeers(access: PeerAccess, waitMs: number): Promise<void> {
    const status = this.statusOf()
    const peers = this.peersOf(status)
    peers.ask(peerAddresses(status), access)
    await Promise.race([peers.settled(), delay(waitMs)])
  }

  private statusOf(): NodeStatus {
    return this.options.node().status()
  }

  private peersOf(status: NodeStatus): PeerStatuses {
    this.peers ??= new PeerStatuses(status.cluster)
    return this.peers
  }

  private follow(status: NodeStatus): void {
    // A witness has no shard whose events could be followed.
    if (this.unsubscribe !== undefined || status.shards.length === 0) return
    const shard = this.options.node().shard(status.shards[0]!.shard)
    this.unsubscribe = shard.subscribe((event) => this.timeline.onShardEvent(Date.now(), status.node, event))
  }
}

/** All other members; a witness that only votes is none of them. */
function peerAddresses(status: NodeStatus): readonly PeerAddress[] {
  const peers: PeerAddress[] = status.members.map(({ node, address }) => ({ node, address }))
  return peers.filter(({ node }) => node !== status.node).slice(0, limits.membersMax)
}

function send(watcher: Watcher, event: string, data: unknown): void {
  sendText(watcher, eventText(event, data))
}

function eventText(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/** Whoever is slow misses pictures, the next one is newer anyway; whoever takes nothing at all is let go. */
function sendText(watcher: Watcher, text: string): void {
  const { response } = watcher
  if (!response.headersSent || response.destroyed) return
  if (response.writableLength < limits.pictureBacklogBytesMax) {
    if (!response.write(text)) watcher.stalledSinceMs ??= performance.now()
  }
  const { stalledSinceMs } = watcher
  if (stalledSinceMs !== undefined && performance.now() - stalledSinceMs > limits.httpStallTimeoutMs) response.destroy()
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
