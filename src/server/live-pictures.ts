import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Logger } from '../ports/logger.js'
import type { NodeHandle, NodeStatus } from '../runtime/handle.js'
import type { EventStream } from './event-stream.js'
import type { LivePicture, PictureHistory, PictureSample } from './live-picture.js'
import { type PeerAccess, type PeerAddress, PeerStatuses } from './peer-statuses.js'
import { takeSample } from './picture-sample.js'
import { Timeline } from './timeline.js'

export interface LivePicturesOptions {
  /** Both throw while the node is starting. */
  readonly node: () => NodeHandle
  readonly status: () => NodeStatus
  readonly logger: Logger
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
  /** With what the others are asked for each of them. */
  private readonly watchers = new Map<EventStream, () => PeerAccess>()
  /** Those that wait for their first picture, too. */
  private watching = 0
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

  /**
   * Sends pictures on the stream that `open` makes, until it ends. Throws before that if too many watch already or the
   * node cannot say anything.
   */
  async watch(access: () => PeerAccess, open: () => EventStream): Promise<void> {
    if (this.watching >= limits.pictureWatchersMax) {
      throw new UnderstudyError('BACKPRESSURE', `${this.watching} watch this node already; that is the limit`, {
        hint: 'close a status page, or open that of another node',
      })
    }
    this.watching += 1
    let stream: EventStream
    try {
      await this.askPeers(access(), firstAnswersMs)
      if (this.closed) throw new UnderstudyError('CLOSED', 'the node is closing', { hint: 'ask another node' })
      const picture = this.picture(this.options.status(), [])
      stream = open()
      const history: PictureHistory = {
        intervalMs: limits.pictureIntervalMs,
        samples: this.samples,
        events: this.timeline.events,
      }
      stream.send('history', history)
      stream.send('picture', picture)
    } catch (error) {
      this.watching -= 1
      throw error
    }
    this.watchers.set(stream, access)
    stream.onEnd(() => {
      this.watching -= 1
      this.watchers.delete(stream)
    })
  }

  /** Ends all streams. Idempotent. */
  close(): void {
    this.closed = true
    clearInterval(this.timer)
    this.unsubscribe?.()
    for (const stream of [...this.watchers.keys()]) stream.end()
  }

  private onInterval(): void {
    this.take().catch((thrown: unknown) => {
      // While it is starting, or closed: watchers are told, and see when it is over.
      const error = toUnderstudyError(thrown, 'taking the picture')
      this.options.logger.debug({ error: error.message }, 'no picture')
      for (const stream of this.watchers.keys()) stream.send('failure', error)
    })
  }

  private async take(): Promise<void> {
    this.follow(this.options.status())
    const [access] = this.watchers.values()
    if (access !== undefined) await this.askPeers(access(), answersMs)
    if (this.closed) return
    const picture = this.picture(this.options.status(), undefined)
    this.samples.push(picture.sample)
    if (this.samples.length > limits.pictureSamplesMax) this.samples.shift()
    for (const stream of this.watchers.keys()) stream.send('picture', picture)
  }

  /** `events` undefined: those that nobody was sent yet. */
  private picture(self: NodeStatus, events: LivePicture['events'] | undefined): LivePicture {
    const atMs = Date.now()
    const peers = this.watching === 0 ? [] : this.peersOf(self).answers(peerAddresses(self))
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
    const status = this.options.status()
    const peers = this.peersOf(status)
    peers.ask(peerAddresses(status), access)
    await Promise.race([peers.settled(), delay(waitMs)])
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

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
