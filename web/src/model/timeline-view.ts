import type { TimelineEvent } from '../../../src/server/live-picture.js'

/** Oldest first, each once: after a reconnection the server tells again what it told before. */
export function mergeEvents(
  kept: readonly TimelineEvent[],
  fresh: readonly TimelineEvent[],
  max: number,
): readonly TimelineEvent[] {
  if (fresh.length === 0) return kept
  const byKey = new Map([...kept, ...fresh].map((event) => [keyOf(event), event]))
  return [...byKey.values()].sort((a, b) => a.atMs - b.atMs).slice(-max)
}

function keyOf({ atMs, kind, node, text, epoch }: TimelineEvent): string {
  return kind === 'primary' ? `${kind} ${epoch}` : `${atMs} ${kind} ${node} ${text}`
}
