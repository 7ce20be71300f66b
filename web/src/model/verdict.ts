import type { ClusterView, Tone } from './cluster-view.js'
import { listOf, sentence, withLocalTimes } from './format.js'

export interface Verdict {
  readonly tone: Tone
  readonly answer: 'yes' | 'no' | 'unknown'
  /** "Can fail over now: yes". */
  readonly title: string
  /** "because b holds everything and can take over." */
  readonly because: string
  /** What happens to writes now. */
  readonly writes: string
}

/** The first thing that a tired person reads. */
export function judge(view: ClusterView): Verdict {
  const { failover, coordinator, atMs } = view
  const writes = writesOf(view)
  if (failover === undefined) {
    const because = view.isWitness
      ? 'this node is a witness and holds no data: open the page of a node that does.'
      : 'no node that answers holds the shard yet.'
    return { tone: 'quiet', answer: 'unknown', title: 'Can fail over now: not known', because, writes }
  }
  const [first = '', ...limits] = withLocalTimes(failover.reason, atMs).split('; ')
  if (failover.possible) {
    const reason = [sentence(first), ...limits.map((limit) => `But ${sentence(limit)}`)].join(' ')
    // A yes that ends in waiting writes is no calm yes.
    const tone = failover.reason.includes('writes would then wait') || view.primary === undefined ? 'warn' : 'good'
    return { tone, answer: 'yes', title: 'Can fail over now: yes', because: `because ${reason}`, writes }
  }
  const tone = coordinator.kind === 'static' && view.primary !== undefined ? 'quiet' : 'bad'
  const because = `because ${sentence([first, ...limits].join('; '))}`
  return { tone, answer: 'no', title: 'Can fail over now: no', because, writes }
}

/** An answer that is old is no answer for now. */
export function judgePast(verdict: Verdict): Verdict {
  return {
    ...verdict,
    tone: 'quiet',
    title: verdict.title.replace('Can fail over now', 'Could fail over when last seen'),
  }
}

function writesOf(view: ClusterView): string {
  const { primary, inSync, inSyncMin, durability } = view
  if (primary === undefined) return view.isWitness ? '' : 'There is no primary: writes wait.'
  if (durability === 'local') return `${primary} takes the writes; they are acknowledged when they are on its disk.`
  if (inSyncMin !== undefined && inSync.length < inSyncMin) {
    return `${primary} is primary, but writes wait: ${inSync.length} of at least ${inSyncMin} nodes in sync.`
  }
  if (inSync.length === 1) return `${primary} takes the writes and is the only node that holds them.`
  return `${primary} takes the writes; each is on ${listOf(inSync)} before it is acknowledged.`
}
