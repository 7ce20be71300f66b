import type { VNode } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { LiveConnection } from './live.js'
import { viewCluster } from './model/cluster-view.js'
import { freshnessOf } from './model/freshness.js'
import { judge, judgePast } from './model/verdict.js'
import { warningsOf } from './model/warnings.js'
import { Announcer } from './parts/announcer.js'
import { ClusterFacts } from './parts/cluster-facts.js'
import { NodeCard } from './parts/node-card.js'
import { OperateDialog, type Operation } from './parts/operate-dialog.js'
import { Plots } from './parts/plots.js'
import { ThemeSwitch } from './parts/theme-switch.js'
import { Timeline } from './parts/timeline.js'
import { TokenGate } from './parts/token-gate.js'
import { VerdictPanel } from './parts/verdict-panel.js'
import { WarningList } from './parts/warning-list.js'
import { applyTheme, storedTheme, type Theme } from './theme.js'
import type { Tokens } from './tokens.js'

export function App({ connection, tokens }: { readonly connection: LiveConnection; readonly tokens: Tokens }): VNode {
  const [live, setLive] = useState(connection.live)
  const [nowMs, setNowMs] = useState(performance.now())
  const [theme, setTheme] = useState<Theme>(storedTheme)
  const [operation, setOperation] = useState<Operation | undefined>(undefined)
  const systemTheme = useSystemTheme()
  useEffect(() => connection.subscribe(() => setLive(connection.live)), [connection])
  useEffect(() => {
    const timer = setInterval(() => setNowMs(performance.now()), 1000)
    return () => clearInterval(timer)
  }, [])

  const { picture, pictureAtMs } = live
  const view = useMemo(() => (picture === undefined ? undefined : viewCluster(picture)), [picture])
  const warnings = useMemo(() => (view === undefined ? [] : warningsOf(view)), [view])
  const verdict = useMemo(() => (view === undefined ? undefined : judge(view)), [view])
  const ageMs = pictureAtMs === undefined ? undefined : Math.max(0, nowMs - pictureAtMs)
  const { isFresh, label, notice } = freshnessOf(live.connection, view?.servedBy, ageMs)
  const others = view?.nodes.filter(({ isServing, address }) => !isServing && address !== undefined) ?? []

  useEffect(() => {
    if (view === undefined || verdict === undefined) return
    const troubles = warnings.filter(({ tone }) => tone !== 'busy').length
    const mark = isFresh ? (troubles === 0 ? '' : `(${troubles}) `) : '(no answer) '
    document.title = `${mark}${view.cluster} · Understudy`
  }, [view, verdict, warnings, isFresh])

  const asksForToken = live.connection.kind === 'token'
  return (
    <>
      <a class="skip" href="#main">
        To the state of the cluster
      </a>
      <header class="bar">
        <h1>
          <span class="product">Understudy</span>
          <span class="cluster">{view === undefined ? '' : view.cluster}</span>
        </h1>
        <p class={`live ${isFresh ? 'fresh' : 'stale'}`}>
          <span class="dot" aria-hidden="true" />
          {view === undefined ? label : `${label}${isFresh ? ` from ${view.servedBy}` : ''}`}
        </p>
        <div class="buttons">
          <button type="button" disabled={view === undefined || !isFresh} onClick={() => setOperation('verify')}>
            Verify…
          </button>
          <button
            type="button"
            class="main"
            disabled={view === undefined || !isFresh}
            onClick={() => setOperation('switchover')}
          >
            Switch over…
          </button>
          <ThemeSwitch
            theme={theme}
            onTheme={(chosen) => {
              applyTheme(chosen)
              setTheme(chosen)
            }}
          />
        </div>
      </header>
      <Announcer title={verdict?.title ?? ''} warnings={warnings} notice={notice} />
      <main id="main" tabIndex={-1}>
        {notice === undefined ? undefined : (
          <section class="notice" aria-label="Connection">
            <p>{notice}</p>
            {others.length === 0 ? undefined : (
              <p>
                Pages of the others:{' '}
                {others.map(({ node, address }) => (
                  <a key={node} href={`${location.protocol}//${address}/`} rel="noreferrer">
                    {node}
                  </a>
                ))}
              </p>
            )}
          </section>
        )}
        {asksForToken ? (
          <TokenGate
            message={live.connection.kind === 'token' ? live.connection.message : ''}
            isWrong={tokens.read !== undefined}
            onToken={(token, keep) => {
              tokens.set('read', token, keep)
              connection.connect()
            }}
          />
        ) : undefined}
        {view === undefined || verdict === undefined ? (
          asksForToken ? undefined : (
            <p class="waiting">Waiting for the first picture…</p>
          )
        ) : (
          <div class={isFresh ? 'picture' : 'picture old'}>
            <VerdictPanel verdict={isFresh ? verdict : judgePast(verdict)} view={view} />
            <WarningList warnings={warnings} />
            <section aria-labelledby="nodes-title">
              <h2 id="nodes-title">Nodes</h2>
              <ul class="nodes">
                {view.nodes.map((node) => (
                  <NodeCard key={node.node} view={node} isPrimary={node.node === view.primary} />
                ))}
              </ul>
            </section>
            <Plots samples={live.samples} toMs={view.atMs} theme={`${theme} ${systemTheme}`} />
            <div class="below">
              <Timeline events={live.events} nowMs={view.atMs} />
              <ClusterFacts view={view} />
            </div>
          </div>
        )}
      </main>
      {operation === undefined || view === undefined ? undefined : (
        <OperateDialog operation={operation} view={view} tokens={tokens} onClose={() => setOperation(undefined)} />
      )}
    </>
  )
}

function useSystemTheme(): string {
  const query = useMemo(() => matchMedia('(prefers-color-scheme: dark)'), [])
  const [isDark, setDark] = useState(query.matches)
  useEffect(() => {
    const onChange = (): void => setDark(query.matches)
    query.addEventListener('change', onChange)
    return () => query.removeEventListener('change', onChange)
  }, [query])
  return isDark ? 'dark' : 'light'
}
