/** Figures and times as people read them. */

const steps = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function formatBytes(bytes: number): string {
  let value = bytes
  let step = 0
  while (value >= 1024 && step < steps.length - 1) {
    value /= 1024
    step += 1
  }
  return `${step === 0 ? Math.round(value) : value.toFixed(1)} ${steps[step]}`
}

/** Three digits where there are fractions: latencies differ by their first digits. */
export function formatMs(ms: number): string {
  if (ms < 10) return `${Number(ms.toPrecision(2))} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  return formatSeconds(ms / 1000)
}

export function formatSeconds(total: number): string {
  const seconds = Math.max(0, Math.floor(total))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`
}

/** For what changes slowly: the largest unit alone, so that nothing ticks on a calm page. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 5) return 'a moment'
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

/** Short, for axes. */
export function formatShort(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(4))} G`
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))} M`
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))} k`
  return `${Number(value.toPrecision(4))}`
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

export function listOf(names: readonly string[]): string {
  if (names.length <= 1) return names.join('')
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** Time of day here; with the date if that is another day. */
export function formatClock(atMs: number, nowMs: number): string {
  const at = new Date(atMs)
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
  if (at.toDateString() === new Date(nowMs).toDateString()) return time
  const day = `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}-${String(at.getDate()).padStart(2, '0')}`
  return `${day} ${time}`
}

/** Times in sentences of the status are in UTC; a person at a desk reads a clock. */
export function withLocalTimes(text: string, nowMs: number): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (iso) => formatClock(Date.parse(iso), nowMs))
}

export function sentence(text: string): string {
  if (text === '') return ''
  return /[.!?]$/.test(text) ? text : `${text}.`
}
