import type { VNode } from 'preact'
import type { ClusterView } from '../model/cluster-view.js'
import { formatMs, formatShort } from '../model/format.js'
import type { Verdict } from '../model/verdict.js'
import { Icon } from './icon.js'

export function VerdictPanel({ verdict, view }: { readonly verdict: Verdict; readonly view: ClusterView }): VNode {
  const { commits } = view
  return (
    <section class={`verdict ${verdict.tone}`} aria-labelledby="verdict-title">
      <div class="verdict-text">
        <h2 id="verdict-title">
          <Icon tone={verdict.tone} />
          {verdict.title}
        </h2>
        <p class="because">{verdict.because}</p>
        <p class="writes">{verdict.writes}</p>
      </div>
      <dl class="facts">
        <Fact name="Primary" value={view.primary ?? 'none'} />
        <Fact name="Epoch" value={view.epoch ?? '–'} />
        <Fact name="Commits" value={commits === undefined ? 'idle' : `${formatShort(commits.perSecond)}/s`} />
        <Fact name="Commit p99" value={commits === undefined ? '–' : formatMs(commits.p99Ms)} />
      </dl>
    </section>
  )
}

function Fact({ name, value }: { readonly name: string; readonly value: string }): VNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
