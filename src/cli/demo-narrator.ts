/** Tells what happens in the demo: to people as a story, to programs as one JSON object per line. */
import { styleText } from 'node:util'
import { Presets, SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import type { BootstrapStatus } from '../runtime/handle.js'

export interface DemoStep {
  /** Stable name of the event. */
  readonly event: string
  readonly text: string
  readonly ms: number
  readonly fields?: Readonly<Record<string, unknown>>
}

export interface DemoNode {
  readonly node: string
  readonly role: string
  readonly epoch: string
  readonly applied: string
  readonly keys: number
  readonly contentHash: string
}

export interface DemoSummary {
  readonly acknowledged: number
  readonly lost: number
  readonly unknown: number
  readonly nodes: number
  readonly seconds: number
  /** From the kill of the primary to the first acknowledged write that was sent after it. */
  readonly takeoverMs: number
  /** Longest time without an acknowledgement around the switchover. */
  readonly switchoverPauseMs: number
  /** Nodes have the same content, and nothing is there that should not be. */
  readonly equal: boolean
}

export interface DemoNarrator {
  /** Something begins that takes a while. */
  begin(text: string): void
  step(step: DemoStep): void
  bootstrap(status: BootstrapStatus): void
  bootstrapEnd(): void
  end(summary: DemoSummary, nodes: readonly DemoNode[], problems: readonly string[]): void
}

type Write = (text: string) => void

export function createJsonNarrator(write: Write): DemoNarrator {
  const line = (value: Record<string, unknown>) => write(`${JSON.stringify(value)}\n`)
  return {
    begin: () => undefined,
    step: ({ event, text, ms, fields }) => line({ event, ms, ...fields, text }),
    bootstrap: ({ phase, source, bytesDone, bytesExpected, bytesPerSecond, secondsLeft }) =>
      line({ event: 'bootstrap', phase, source, bytesDone, bytesExpected, bytesPerSecond, secondsLeft }),
    bootstrapEnd: () => undefined,
    end: (summary, nodes, problems) => {
      for (const node of nodes) line({ event: 'node', ...node })
      for (const text of problems) line({ event: 'problem', text })
      line({ event: 'summary', ...summary })
    },
  }
}

export function createStoryNarrator(stream: NodeJS.WriteStream): DemoNarrator {
  const isTerminal = stream.isTTY === true
  const hasColours = isTerminal && !process.env.NO_COLOR && stream.getColorDepth() > 1
  const paint = (format: Parameters<typeof styleText>[0], text: string) => (hasColours ? styleText(format, text) : text)
  const line = (text: string) => stream.write(`${text}\n`)
  const steps: DemoStep[] = []
  const progress = isTerminal ? createBar(stream, hasColours) : createProgressLines(line)
  return {
    begin: (text) => line(paint('dim', `… ${text}`)),
    step: (step) => {
      steps.push(step)
      line(`${paint('green', '✓')} ${step.text} ${paint('dim', formatMs(step.ms))}`)
    },
    bootstrap: (status) => progress.update(status),
    bootstrapEnd: () => progress.end(),
    end: (summary, nodes, problems) => {
      line('')
      line(stepTable(steps, hasColours))
      line(nodeTable(nodes, hasColours))
      for (const problem of problems) line(`${paint('red', '✗')} ${problem}`)
      line(verdict(summary, paint))
    },
  }
}

function verdict(summary: DemoSummary, paint: (format: 'green' | 'red', text: string) => string): string {
  const { acknowledged, lost, unknown, nodes, seconds, takeoverMs, switchoverPauseMs, equal } = summary
  const good = lost === 0 && equal
  const first = `${count(acknowledged)} writes acknowledged, ${lost} lost`
  const second = equal ? `${nodes} nodes with the same content` : 'the nodes differ'
  return [
    `${paint(good ? 'green' : 'red', good ? '✓' : '✗')} ${first}; ${second}.`,
    unknown === 0
      ? '  No write was left without an answer.'
      : `  ${count(unknown)} that were under way when a primary went got no answer: their outcome is unknown, never "done".`,
    `  Writes were taken again ${count(takeoverMs)} ms after the kill, and paused for ${count(switchoverPauseMs)} ms in the switchover. ${seconds} s in all.`,
  ].join('\n')
}

interface ProgressView {
  update(status: BootstrapStatus): void
  end(): void
}

const mebibyte = 1024 * 1024

function createBar(stream: NodeJS.WriteStream, hasColours: boolean): ProgressView {
  const bar = new SingleBar(
    {
      stream,
      format: '  {bar} {percentage}%  {done} of {expected} MiB  {rate} MiB/s  {left}  {phase}',
      barsize: 24,
      hideCursor: true,
      clearOnComplete: false,
      noTTYOutput: false,
    },
    hasColours ? Presets.shades_classic : Presets.legacy,
  )
  let started = false
  return {
    update: (status) => {
      const { done, expected, rate, left } = inWords(status)
      const payload = { done, expected, rate, left, phase: status.phase }
      const total = Math.max(status.bytesExpected ?? 0, status.bytesDone, 1)
      if (!started) bar.start(total, status.bytesDone, payload)
      started = true
      bar.setTotal(total)
      bar.update(status.bytesDone, payload)
    },
    end: () => {
      if (!started) return
      // What the source had estimated is over now, whatever it was.
      bar.update(bar.getTotal(), { left: '', phase: 'done' })
      bar.stop()
      started = false
    },
  }
}

/** Where nobody can be shown a bar: a line now and then. */
function createProgressLines(line: (text: string) => void): ProgressView {
  let lastMs = -Infinity
  return {
    update: (status) => {
      if (performance.now() - lastMs < 1_000) return
      lastMs = performance.now()
      const { done, expected, rate, left } = inWords(status)
      line(`  ${status.phase}, ${done} of ${expected} MiB, ${rate} MiB/s ${left}`.trimEnd())
    },
    end: () => undefined,
  }
}

function inWords(status: BootstrapStatus) {
  const { bytesDone, bytesExpected, bytesPerSecond, secondsLeft } = status
  return {
    done: (bytesDone / mebibyte).toFixed(1),
    expected: bytesExpected === undefined ? '?' : (Math.max(bytesExpected, bytesDone) / mebibyte).toFixed(1),
    rate: (bytesPerSecond / mebibyte).toFixed(1),
    left: secondsLeft === undefined ? '' : `${secondsLeft} s left`,
  }
}

function stepTable(steps: readonly DemoStep[], hasColours: boolean): string {
  const table = new Table({
    head: ['step', 'what happened', 'ms'],
    colAligns: ['left', 'left', 'right'],
    ...look(hasColours),
  })
  for (const [index, step] of steps.entries()) table.push([String(index + 1), step.text, count(step.ms)])
  return table.toString()
}

function nodeTable(nodes: readonly DemoNode[], hasColours: boolean): string {
  const head = ['node', 'role', 'epoch', 'applied', 'keys', 'content']
  const table = new Table({ head, colAligns: ['left', 'left', 'left', 'right', 'right', 'left'], ...look(hasColours) })
  for (const { node, role, epoch, applied, keys, contentHash } of nodes) {
    table.push([node, role, epoch, applied, count(keys), contentHash.slice(0, 16)])
  }
  return table.toString()
}

function look(hasColours: boolean) {
  return { style: { head: hasColours ? ['bold'] : [], border: hasColours ? ['dim'] : [], compact: true } }
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function formatMs(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}
