import type { Clock, Timer } from '../ports/clock.js'
import type { SeededRandom } from './seeded-random.js'
import type { VirtualTime } from './virtual-time.js'

/** Real timers fire a little late. */
const timerLateMsMax = 0.3
/** What a turn of the event loop takes. */
const turnMsMax = 0.05
const timerMsMin = 1

export interface ProcessClockOptions {
  readonly time: VirtualTime
  readonly random: SeededRandom
  /** How fast its monotonic clock runs: 1 is the rate of the world. */
  readonly rate: number
  /** Of the wall clock against the world's. */
  readonly wallOffsetMs: number
}

/** Of the first second of a run, so that a wall clock shows something. */
const worldBeganMs = Date.UTC(2026, 0, 1)

class ProcessTimer implements Timer {
  moment: Timer | undefined
  private readonly process: SimulatedProcess
  private fn: (() => void) | undefined

  constructor(process: SimulatedProcess, fn: () => void) {
    this.process = process
    this.fn = fn
  }

  readonly arrive = (): void => {
    if (this.fn !== undefined) this.process.take(this)
  }

  fire(): void {
    const { fn } = this
    this.fn = undefined
    fn?.()
  }

  cancel(): void {
    this.fn = undefined
    this.moment?.cancel()
  }
}

/**
 * A process in the world: its clock, and the door through which everything that happens reaches it. While it stands
 * still that waits; once it is gone nothing reaches it any more.
 */
export class SimulatedProcess implements Clock {
  readonly startedMs: number
  wallOffsetMs: number
  private readonly time: VirtualTime
  private readonly random: SeededRandom
  private readonly rate: number
  private readonly originMs: number
  private dead = false
  private still = false
  private lastStillMs: number | undefined
  private parked: Array<() => void> = []

  constructor(options: ProcessClockOptions) {
    this.time = options.time
    this.random = options.random
    this.rate = options.rate
    this.wallOffsetMs = options.wallOffsetMs
    this.startedMs = options.time.nowMs
    // Two processes agree in nothing about where their monotonic time begins.
    this.originMs = Math.floor(options.random.between(1_000, 1_000_000))
  }

  get isDead(): boolean {
    return this.dead
  }

  /** When it stood still last; infinite while it does. */
  get stoodStillMs(): number | undefined {
    return this.lastStillMs
  }

  get isStill(): boolean {
    return this.still
  }

  nowMs(): number {
    return this.originMs + (this.time.nowMs - this.startedMs) * this.rate
  }

  wallMs(): number {
    return Math.floor(worldBeganMs + this.time.nowMs + this.wallOffsetMs)
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const late = this.random.next() * timerLateMsMax
    return this.after(Math.max(timerMsMin, delayMs) / this.rate + late, fn)
  }

  defer(fn: () => void): void {
    this.after(this.random.next() * turnMsMax, fn)
  }

  /** After so much time of the world. */
  after(delayMs: number, fn: () => void): Timer {
    const timer = new ProcessTimer(this, fn)
    timer.moment = this.time.schedule(delayMs, timer.arrive)
    return timer
  }

  /** For `ProcessTimer`: its time has come. */
  take(timer: ProcessTimer): void {
    if (this.dead) return
    if (this.still) this.parked.push(timer.arrive)
    else timer.fire()
  }

  stand(): void {
    this.still = true
    this.lastStillMs = Number.POSITIVE_INFINITY
  }

  goOn(): void {
    this.still = false
    this.lastStillMs = this.time.nowMs
    const { parked } = this
    this.parked = []
    for (const arrive of parked) this.time.schedule(0, arrive)
  }

  kill(): void {
    this.dead = true
    this.parked = []
  }
}
