import type { VNode } from 'preact'
import type { ClusterView } from '../model/cluster-view.js'
import { plural } from '../model/format.js'

/** In-sync set, durability and coordinator: what changes seldom. */
export function ClusterFacts({ view }: { readonly view: ClusterView }): VNode {
  const { inSync, inSyncMin, recordVersion, durability, failoverMs, coordinator, nodes } = view
  const others = nodes.filter(({ node }) => !inSync.includes(node))
  const isAway = coordinator.unreachableFrom.length > 0
  return (
    <section class="cluster-facts" aria-labelledby="set-title">
      <h2 id="set-title">In-sync set</h2>
      <ul class="chips">
        {inSync.map((node) => (
          <li key={node} class="in">
            {node}
            {node === view.primary ? ' (primary)' : ''}
          </li>
        ))}
        {others.map(({ node }) => (
          <li key={node} class="out">
            {node} is not in it
          </li>
        ))}
      </ul>
      <dl>
        <dt>Needed</dt>
        <dd>
          {inSyncMin === undefined ? '–' : `${plural(inSyncMin, 'node')} at least`}
          {durability === undefined ? '' : `, durability ${durability}`}
        </dd>
        <dt>Record</dt>
        <dd>{recordVersion === undefined ? '–' : `version ${recordVersion}`}</dd>
        <dt>Failover after</dt>
        <dd>
          {coordinator.kind === 'static' || failoverMs === undefined
            ? 'never by itself'
            : `${(failoverMs / 1000).toFixed(1)} s`}
        </dd>
        <dt>Coordinator</dt>
        <dd class={isAway ? 'bad' : ''}>
          {coordinator.description}
          {isAway ? ` – not reached from ${coordinator.unreachableFrom.join(', ')}` : ''}
        </dd>
        <dt>Engine</dt>
        <dd>{[...new Set(nodes.flatMap(({ engine }) => engine ?? []))].join(', ') || '–'}</dd>
        <dt>Version</dt>
        <dd>{[...new Set([view.version, ...nodes.flatMap(({ version }) => version ?? [])])].join(', ')}</dd>
      </dl>
    </section>
  )
}
