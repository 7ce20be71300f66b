import type { PictureSample } from '../../../src/server/live-picture.js'

/** Columns for a plot: x in seconds, then one column for each series; undefined where nothing is known. */
export interface PlotData {
  readonly x: readonly number[]
  readonly series: readonly PlotSeries[]
}

export interface PlotSeries {
  readonly name: string
  readonly values: ReadonlyArray<number | null>
}

/** What is between two samples further apart than this was not seen: a line would claim that it was. */
const gapMs = 3_500

/** Older samples first; the newest history of the server wins over what was kept here. */
export function mergeSamples(
  kept: readonly PictureSample[],
  fresh: readonly PictureSample[],
  max: number,
): readonly PictureSample[] {
  const first = fresh[0]?.atMs ?? Number.POSITIVE_INFINITY
  return [...kept.filter(({ atMs }) => atMs < first), ...fresh].slice(-max)
}

export function windowOf(samples: readonly PictureSample[], nowMs: number, spanMs: number): readonly PictureSample[] {
  return samples.filter(({ atMs }) => atMs > nowMs - spanMs)
}

export function nodesOf(samples: readonly PictureSample[]): readonly string[] {
  return [...new Set(samples.flatMap(({ nodes }) => Object.keys(nodes)))].sort()
}

/** Applied sequences, one series for each node. */
export function positions(samples: readonly PictureSample[], nodes: readonly string[]): PlotData {
  return columns(samples, nodes, (sample, node) => sample.nodes[node]?.applied)
}

/** How long each node is behind, in milliseconds. */
export function lags(samples: readonly PictureSample[], nodes: readonly string[]): PlotData {
  return columns(samples, nodes, (sample, node) => sample.nodes[node]?.lagMs)
}

export const latencyNames = ['p50 (median)', 'p99'] as const

export function latencies(samples: readonly PictureSample[]): PlotData {
  return columns(samples, latencyNames, (sample, name) =>
    name === latencyNames[0] ? sample.commits?.p50Ms : sample.commits?.p99Ms,
  )
}

function columns(
  samples: readonly PictureSample[],
  names: readonly string[],
  figureOf: (sample: PictureSample, name: string) => number | undefined,
): PlotData {
  const x: number[] = []
  const series = names.map((name) => ({ name, values: [] as Array<number | null> }))
  let before: number | undefined
  for (const sample of samples) {
    if (before !== undefined && sample.atMs - before > gapMs) {
      x.push((before + 1) / 1000)
      for (const { values } of series) values.push(null)
    }
    before = sample.atMs
    x.push(sample.atMs / 1000)
    for (const { name, values } of series) values.push(figureOf(sample, name) ?? null)
  }
  return { x, series }
}

export interface PlotSummary {
  readonly name: string
  readonly last: number | undefined
  readonly least: number | undefined
  readonly most: number | undefined
}

/** The plot in figures, for whoever does not see it. */
export function summarise({ series }: PlotData): readonly PlotSummary[] {
  return series.map(({ name, values }) => {
    const known = values.filter((value) => value !== null)
    return {
      name,
      last: values.at(-1) ?? undefined,
      least: known.length === 0 ? undefined : known.reduce((a, b) => Math.min(a, b)),
      most: known.length === 0 ? undefined : known.reduce((a, b) => Math.max(a, b)),
    }
  })
}
