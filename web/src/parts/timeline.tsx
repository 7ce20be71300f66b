import type { VNode } from 'preact'
import type { TimelineEvent, TimelineKind } from '../../../src/server/live-picture.js'
import { formatClock, withLocalTimes } from '../model/format.js'

const names: Readonly<Record<TimelineKind, string>> = {
  primary: 'primary',
  state: 'state',
  'in-sync': 'set',
  reach: 'contact',
  loss: 'loss',
}
const shownMax = 60

/** Newest first. */
export function Timeline({
  events,
  nowMs,
}: {
  readonly events: readonly TimelineEvent[]
  readonly nowMs: number
}): VNode {
  const newest = events.slice(-shownMax).reverse()
  return (
    <section class="timeline" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      {newest.length === 0 ? <p class="empty">Nothing has changed since this node started.</p> : undefined}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard */}
      <ol tabIndex={0} aria-labelledby="timeline-title">
        {newest.map(({ atMs, kind, node, text }) => (
          <li key={`${atMs} ${node} ${text}`} class={kind}>
            <time dateTime={new Date(atMs).toISOString()}>{formatClock(atMs, nowMs)}</time>
            <span class="kind">{names[kind]}</span>
            <span class="what">
              {kind === 'in-sync' ? '' : <b>{node} </b>}
              {withLocalTimes(text, nowMs)}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}
