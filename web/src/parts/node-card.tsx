import type { VNode } from 'preact'
import type { BootstrapView } from '../model/bootstrap-view.js'
import { type NodeView, sinceText } from '../model/cluster-view.js'
import { formatCount } from '../model/format.js'
import { Icon } from './icon.js'

export function NodeCard({ view, isPrimary }: { readonly view: NodeView; readonly isPrimary: boolean }): VNode {
  const { node, tone, state, reachable, answers, address, isServing, inSync } = view
  const title = `node-${node}`
  return (
    <li class={`node ${tone}${isPrimary ? ' leads' : ''}${answers ? '' : ' silent'}`} data-node={node}>
      <article aria-labelledby={title}>
        <header>
          <h3 id={title}>{node}</h3>
          <span class={`role ${isPrimary ? 'primary' : ''}`}>
            {reachable || view.role === undefined ? (view.role ?? 'unknown') : `was ${view.role}`}
          </span>
          <span class={`set ${inSync ? 'in' : 'out'}`}>{inSync ? 'in sync' : 'not in sync'}</span>
        </header>
        <p class="state">
          <Icon tone={tone} />
          <strong>{reachable ? (state ?? 'state not known') : 'no answer'}</strong>
          <span class="since">{sinceText(view)}</span>
        </p>
        {view.bootstrap === undefined ? <Lag view={view} /> : <Progress node={node} view={view.bootstrap} />}
        <dl class="figures">
          <Figure name="Appended" value={view.sequence.appended} />
          <Figure name="Durable" value={view.sequence.durable} />
          <Figure name="Committed" value={view.sequence.committed} />
          <Figure name="Applied" value={view.sequence.applied} />
        </dl>
        <p class="foot">
          <span>epoch {view.epoch ?? '–'}</span>
          {address === undefined ? undefined : isServing ? (
            <span>{address} · this page</span>
          ) : (
            <a
              href={`${location.protocol}//${address}/`}
              rel="noreferrer"
              aria-label={`Status page of ${node} at ${address}`}
            >
              {address}
            </a>
          )}
        </p>
      </article>
    </li>
  )
}

function Lag({ view }: { readonly view: NodeView }): VNode {
  const isBehind = view.reachable && view.lagText.endsWith('behind')
  return (
    <div class={`lag${isBehind ? ' behind' : ''}`}>
      <p>{view.reachable ? view.lagText : view.error}</p>
      <p class="exact">{view.lagFigures}</p>
    </div>
  )
}

function Figure({ name, value }: { readonly name: string; readonly value: number | undefined }): VNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value === undefined ? '–' : formatCount(value)}</dd>
    </div>
  )
}

function Progress({ node, view }: { readonly node: string; readonly view: BootstrapView }): VNode {
  const { share, phase, amount, rate, left, source, note } = view
  const percent = share === undefined ? undefined : Math.floor(share * 100)
  const facts = [amount, rate].filter((text) => text !== '').join(' · ')
  return (
    <div class="progress">
      <p class="phase">
        <span>
          {phase}
          {source === undefined ? '' : ` from ${source}`}
        </span>
        <strong>{percent === undefined ? '' : `${percent} %`}</strong>
      </p>
      <progress aria-label={`Bootstrap of ${node}`} max={100} {...(percent === undefined ? {} : { value: percent })} />
      <p class="amount">
        <span>{facts === '' ? (note ?? 'more on its own page') : facts}</span>
        <span>{left}</span>
      </p>
      {note === undefined || facts === '' ? undefined : <p class="note">{note}</p>}
    </div>
  )
}
