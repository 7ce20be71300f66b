import type { BootstrapMethod } from '../core/checkpoint-transfer.js'
import type { Clock } from '../ports/clock.js'
import type { BootstrapStatus } from './handle.js'

const rateWindowMs = 5_000

/** How far a bootstrap is, for people: rate over the last seconds, time left from the source's estimate. */
export class BootstrapProgress {
  private readonly clock: Clock
  private readonly onChange: (progress: BootstrapProgress) => void
  private now: BootstrapStatus = {
    phase: 'waiting',
    method: undefined,
    source: undefined,
    position: undefined,
    bytesDone: 0,
    bytesExpected: undefined,
    entriesDone: 0,
    bytesPerSecond: 0,
    secondsLeft: undefined,
    resumedFrom: undefined,
    restarts: 0,
    retryInMs: undefined,
    lastError: undefined,
  }
  private recent: Array<{ readonly atMs: number; readonly bytes: number }> = []

  constructor(clock: Clock, onChange: (progress: BootstrapProgress) => void) {
    this.clock = clock
    this.onChange = onChange
  }

  get status(): BootstrapStatus {
    const nowMs = this.clock.nowMs()
    this.recent = this.recent.filter((piece) => nowMs - piece.atMs < rateWindowMs)
    const spanMs = Math.max(100, nowMs - (this.recent[0]?.atMs ?? nowMs))
    const bytes = this.recent.reduce((sum, piece) => sum + piece.bytes, 0)
    const bytesPerSecond = Math.round((bytes * 1000) / spanMs)
    const { bytesExpected, bytesDone, phase } = this.now
    const left = bytesExpected === undefined ? 0 : bytesExpected - bytesDone
    const secondsLeft =
      phase === 'transferring' && left > 0 && bytesPerSecond > 0 ? Math.round(left / bytesPerSecond) : undefined
    return { ...this.now, bytesPerSecond, secondsLeft }
  }

  phase(phase: BootstrapStatus['phase']): void {
    this.set({ phase, retryInMs: undefined })
  }

  source(source: string): void {
    this.set({ source })
  }

  /** An engine that estimates nothing (all is in its memory still) says 0: what is expected is not known then. */
  begin(position: number, estimate: number, method: BootstrapMethod): void {
    // Of one way nothing is of use to the other.
    const goesOn = this.now.method === undefined || this.now.method === method
    const bytesDone = goesOn ? this.now.bytesDone : 0
    const bytesExpected = estimate === 0 ? undefined : Math.max(estimate, bytesDone)
    this.set({ position, bytesExpected, bytesDone, method, lastError: undefined })
  }

  /** So much is here: what had come was of no use, or was here before. It is no part of the rate. */
  correct(bytesDone: number): void {
    this.set({ bytesDone })
  }

  advance(bytes: number, entries: number): void {
    this.recent.push({ atMs: this.clock.nowMs(), bytes })
    this.set({ bytesDone: this.now.bytesDone + bytes, entriesDone: this.now.entriesDone + entries })
  }

  resumed(resumedFrom: string, bytesDone: number, entriesDone: number): void {
    this.set({ resumedFrom, bytesDone, entriesDone })
  }

  startedOver(restarts: number): void {
    this.set({ restarts, method: undefined, bytesDone: 0, entriesDone: 0, resumedFrom: undefined, position: undefined })
  }

  waiting(lastError: string, retryInMs: number | undefined): void {
    this.set({ phase: 'waiting', lastError, retryInMs })
  }

  private set(change: Partial<BootstrapStatus>): void {
    this.now = { ...this.now, ...change }
    this.onChange(this)
  }
}
