import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { formatClock } from '../model/format.js'
import { type PlotData, summarise } from '../model/plot-data.js'

export interface PlotProps {
  readonly id: string
  readonly title: string
  /** What it shows, in one sentence. */
  readonly about: string
  readonly data: PlotData
  readonly format: (value: number) => string
  /** Short, for the axis. */
  readonly axis: (value: number) => string
  readonly fromMs: number
  readonly toMs: number
  readonly fromZero: boolean
  /** The least height of the scale: noise around nothing shall not look like mountains. */
  readonly least: number
  /** Changes when colours do. */
  readonly theme: string
}

const height = 168

export function Plot(props: PlotProps): VNode {
  const { id, title, about, data, format } = props
  const summary = summarise(data)
  return (
    <figure class="plot" aria-labelledby={`${id}-title`}>
      <figcaption>
        <h3 id={`${id}-title`}>{title}</h3>
        <p>{about}</p>
      </figcaption>
      <Canvas {...props} />
      <ul class="legend">
        {summary.map(({ name, last }, index) => (
          <li key={name}>
            <svg class={`swatch series-${index % 6}`} viewBox="0 0 22 8" width="22" height="8" aria-hidden="true">
              <line x1="1" y1="4" x2="21" y2="4" />
            </svg>
            {name} <b>{last === undefined ? '–' : format(last)}</b>
          </li>
        ))}
      </ul>
      <details>
        <summary>As a table</summary>
        <table>
          <caption class="unseen">{`${title}: now, least and most in the time shown`}</caption>
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col">Now</th>
              <th scope="col">Least</th>
              <th scope="col">Most</th>
            </tr>
          </thead>
          <tbody>
            {summary.map(({ name, last, least, most }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {[last, least, most].map((value, index) => (
                  <td key={index}>{value === undefined ? '–' : format(value)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  )
}

/** The drawing alone: everything it says stands beside it as text. */
function Canvas(props: PlotProps): VNode {
  const { data, fromMs, toMs, fromZero, least, axis, theme, title } = props
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const shown = useRef(props)
  shown.current = props
  const names = data.series.map(({ name }) => name).join()

  // Made anew when series or colours change, not with each sample.
  useEffect(() => {
    const element = host.current!
    const style = getComputedStyle(element)
    const colour = (name: string): string => style.getPropertyValue(name).trim()
    const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]]
    const common = {
      stroke: colour('--muted'),
      font: `11px ${style.fontFamily}`,
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    }
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 100),
        height,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 10, 0, 0],
        scales: {
          x: { time: false, range: () => [shown.current.fromMs / 1000, shown.current.toMs / 1000] },
          y: { range: (_plot, min, max) => rangeOf(min, max, shown.current) },
        },
        axes: [
          {
            ...common,
            size: 26,
            space: 70,
            values: (_plot, splits, _axis, _space, step) =>
              splits.map((value) => formatClock(value * 1000, shown.current.toMs).slice(0, step < 60 ? 8 : 5)),
            incrs: [15, 30, 60, 120, 180, 300, 600],
          },
          { ...common, size: 58, space: 34, values: (_plot, splits) => splits.map((value) => axis(value)) },
        ],
        series: [
          {},
          ...data.series.map((_series, index) => ({
            stroke: colour(`--series-${index % 6}`),
            width: 2,
            dash: dashes[index % 6]!,
            points: { show: false },
            spanGaps: false,
          })),
        ],
      },
      aligned(shown.current.data),
      element,
    )
    plot.current = made
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [names, theme])

  useEffect(() => {
    plot.current?.setData(aligned(data))
  }, [data, fromMs, toMs, fromZero, least])

  return <div class="canvas" ref={host} role="img" aria-label={describe(title, data, props.format)} />
}

function aligned({ x, series }: PlotData): uPlot.AlignedData {
  return [[...x], ...series.map(({ values }) => [...values])] as uPlot.AlignedData
}

function rangeOf(min: number | null, max: number | null, { fromZero, least }: PlotProps): [number, number] {
  if (min === null || max === null) return [0, least]
  const low = fromZero ? 0 : min
  const high = Math.max(max, low + least)
  return [low, high + (high - low) * 0.08]
}

function describe(title: string, data: PlotData, format: (value: number) => string): string {
  const parts = summarise(data).map(({ name, last }) => `${name} ${last === undefined ? 'not known' : format(last)}`)
  return `${title}. Now: ${parts.join(', ') || 'nothing yet'}. The table below has the figures.`
}
