import cliProgress from 'cli-progress'
import { limits } from '../core/limits.js'
import type { BootstrapStatus } from '../runtime/handle.js'
import { formatBytes, formatCount, formatMs, formatSeconds } from './format.js'
import { printJson, printLine } from './terminal.js'

/** How the progress of a bootstrap is shown; `end` leaves the terminal as it was. */
export interface ProgressView {
  update(status: BootstrapStatus): void
  end(): void
}

export function createProgressView(json: boolean): ProgressView {
  if (json) return paced((status) => printJson({ event: 'progress', ...status }))
  return process.stderr.isTTY === true ? new Bar() : paced((status) => printLine(describeProgress(status)))
}

/** At once when the phase changes, else once per second. */
function paced(show: (status: BootstrapStatus) => void): ProgressView {
  let shownMs = Number.NEGATIVE_INFINITY
  let shownPhase: string | undefined
  return {
    update(status) {
      const nowMs = performance.now()
      const phase = `${status.phase} ${status.lastError}`
      if (phase === shownPhase && nowMs - shownMs < limits.progressIntervalMs) return
      shownMs = nowMs
      shownPhase = phase
      show(status)
    },
    end() {},
  }
}

export function describeProgress(status: BootstrapStatus): string {
  const { phase, source, lastError, retryInMs } = status
  if (phase === 'waiting') {
    const retry = retryInMs === undefined ? '' : `, again in ${formatMs(retryInMs)}`
    return `waiting: ${lastError ?? 'for a source'}${retry}`
  }
  return `${phase}${source === undefined ? '' : ` from ${source}`}: ${amounts(status)}`
}

/** Files are not counted in entries. */
function amounts({
  method,
  bytesDone,
  bytesExpected,
  entriesDone,
  bytesPerSecond,
  secondsLeft,
}: BootstrapStatus): string {
  const expected =
    bytesExpected === undefined
      ? ''
      : bytesExpected < bytesDone
        ? ` (more than the ${formatBytes(bytesExpected)} that the source estimated)`
        : ` of about ${formatBytes(bytesExpected)}`
  const left = secondsLeft === undefined ? '' : `, ${formatSeconds(secondsLeft)} left`
  const entries = method === 'checkpoint' ? '' : `, ${formatCount(entriesDone)} entries`
  return `${formatBytes(bytesDone)}${expected}${entries}, ${formatBytes(bytesPerSecond)}/s${left}`
}

class Bar implements ProgressView {
  private readonly bar = new cliProgress.SingleBar({
    format: '{phase} [{bar}] {percentage} % · {text}',
    hideCursor: true,
    clearOnComplete: false,
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    stream: process.stderr,
  })
  private started = false

  update(status: BootstrapStatus): void {
    const { phase, bytesDone, bytesExpected } = status
    const isWhole = phase === 'catching-up' || phase === 'installing' || phase === 'done'
    // An estimate: what exceeds it, or has none, is not shown as whole before it is.
    const total = Math.max(1, bytesExpected ?? 1)
    const value = isWhole ? total : bytesExpected === undefined ? 0 : Math.min(bytesDone, total * 0.99)
    const payload = { phase: phase.padEnd(12), text: phase === 'waiting' ? describeProgress(status) : amounts(status) }
    if (!this.started) {
      this.started = true
      this.bar.start(total, value, payload)
      return
    }
    this.bar.setTotal(total)
    this.bar.update(value, payload)
  }

  end(): void {
    if (this.started) this.bar.stop()
  }
}
