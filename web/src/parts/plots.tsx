import type { VNode } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import type { PictureSample } from '../../../src/server/live-picture.js'
import { formatCount, formatMs, formatShort } from '../model/format.js'
import { lags, latencies, nodesOf, positions, windowOf } from '../model/plot-data.js'
import { Plot } from './plot.js'

const spans = [2, 5, 15] as const

export function Plots(props: {
  readonly samples: readonly PictureSample[]
  readonly toMs: number
  readonly theme: string
}): VNode {
  const { samples, toMs, theme } = props
  const [minutes, setMinutes] = useState<(typeof spans)[number]>(5)
  const spanMs = minutes * 60_000
  const data = useMemo(() => {
    const shown = windowOf(samples, toMs, spanMs)
    const nodes = nodesOf(shown)
    return { positions: positions(shown, nodes), lags: lags(shown, nodes), latencies: latencies(shown) }
  }, [samples, toMs, spanMs])
  // Not wider than what is known: a node that has just started would show an empty field.
  const firstMs = Math.min(samples[0]?.atMs ?? toMs, toMs - 60_000)
  const frame = { fromMs: Math.max(toMs - spanMs, firstMs), toMs, theme }
  return (
    <section class="plots" aria-labelledby="plots-title">
      <header>
        <h2 id="plots-title">Last minutes</h2>
        <fieldset class="spans">
          <legend class="unseen">Time shown</legend>
          {spans.map((span) => (
            <label key={span}>
              <input type="radio" name="span" checked={minutes === span} onChange={() => setMinutes(span)} />
              <span>{span} min</span>
            </label>
          ))}
        </fieldset>
      </header>
      <div class="plot-grid">
        <Plot
          {...frame}
          id="plot-lag"
          title="Behind the primary"
          about="How old the data of each node is."
          data={data.lags}
          format={formatMs}
          axis={formatMs}
          fromZero
          least={20}
        />
        <Plot
          {...frame}
          id="plot-latency"
          title="Commit latency"
          about="From a write to its acknowledgement, on the primary."
          data={data.latencies}
          format={formatMs}
          axis={formatMs}
          fromZero
          least={2}
        />
        <Plot
          {...frame}
          id="plot-position"
          title="Entries applied"
          about="Lines that meet: nodes with the same data."
          data={data.positions}
          format={formatCount}
          axis={formatShort}
          fromZero={false}
          least={10}
        />
      </div>
    </section>
  )
}
