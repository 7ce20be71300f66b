/** What the status page is sent: the words between `GET /page/live` and `web/`. No contract for others. */
import type { CommitsStatus, NodeStatus } from '../runtime/handle.js'

export const livePath = '/page/live'

/** First event of the stream, `history`. */
export interface PictureHistory {
  readonly intervalMs: number
  /** Oldest first. */
  readonly samples: readonly PictureSample[]
  readonly events: readonly TimelineEvent[]
}

/** Event `picture`, once in each interval. */
export interface LivePicture {
  /** Wall time of the node that serves the page. */
  readonly atMs: number
  /** What the serving node says of itself, its view of the others included. */
  readonly self: NodeStatus
  /** What the other members said when they were asked. */
  readonly peers: readonly PeerAnswer[]
  readonly sample: PictureSample
  /** New since the picture before. */
  readonly events: readonly TimelineEvent[]
}

export interface PeerAnswer {
  readonly node: string
  readonly address: string
  /** The last answer, if it is recent. */
  readonly status?: NodeStatus
  /** Why there is none. */
  readonly error?: string
}

export interface PictureSample {
  readonly atMs: number
  readonly nodes: Readonly<Record<string, NodeSample>>
  /** Of the primary. */
  readonly commits?: CommitsStatus
}

/** Absent: not known. */
export interface NodeSample {
  readonly applied?: number
  readonly lagEntries?: number
  readonly lagMs?: number
}

export type TimelineKind = 'primary' | 'state' | 'in-sync' | 'reach' | 'loss'

export interface TimelineEvent {
  readonly atMs: number
  readonly kind: TimelineKind
  readonly node: string
  readonly text: string
  /** Of kind `primary`: `number@node`, so that what several nodes tell of one change is shown once. */
  readonly epoch?: string
}
