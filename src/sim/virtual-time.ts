import type { Timer } from '../ports/clock.js'

/**
 * Runs everything that waits in the queues of promises and ticks, then tells of rejections that nobody took: what Node
 * does between two callbacks of its own. It has always offered it under this name, without describing it.
 */
const drainOfNode = (process as { readonly _tickCallback?: () => void })._tickCallback

/** Events in one turn of the real event loop, for which nothing but results waits. */
const eventsPerTurnMax = 256

/** Fewer are not worth the work. */
const cancelledMin = 64

class Moment implements Timer {
  readonly atMs: number
  /** Order among those of one time. */
  readonly number: number
  fn: (() => void) | undefined
  private readonly time: VirtualTime

  constructor(time: VirtualTime, atMs: number, number: number, fn: () => void) {
    this.time = time
    this.atMs = atMs
    this.number = number
    this.fn = fn
  }

  cancel(): void {
    if (this.fn === undefined) return
    this.fn = undefined
    this.time.noteCancelled()
  }
}

/**
 * The time of a simulated world: it stands still while something happens, and then is at once the time of what
 * happens next. Between two events all promises that can go on do so, as in the event loop of a process.
 */
export class VirtualTime {
  nowMs = 0
  /** Events that have happened. */
  events = 0
  /** Hears of each event before it happens. */
  onEvent: ((atMs: number, number: number) => void) | undefined
  /** Called after each event; where there is none, each event has a turn of the real event loop, which costs more. */
  drain: (() => void) | undefined = drainOfNode
  private heap: Moment[] = []
  /** Of those in the heap, at least. */
  private cancelled = 0
  private count = 0

  schedule(delayMs: number, fn: () => void): Timer {
    const moment = new Moment(this, this.nowMs + Math.max(0, delayMs), this.count++, fn)
    this.push(moment)
    return moment
  }

  /** For `Moment`: one of those in the heap will not happen. */
  noteCancelled(): void {
    this.cancelled += 1
    if (this.cancelled > cancelledMin && this.cancelled > this.heap.length / 2) this.forgetCancelled()
  }

  /** Resolves when `isOver` says so, asked before each event; rejects with what an event throws. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const { drain } = this
      const events = drain === undefined ? 1 : eventsPerTurnMax
      const turn = () => {
        try {
          for (let count = 0; count < events; count++) {
            if (isOver() || !this.happen()) return resolve()
            drain?.()
          }
        } catch (error) {
          reject(error)
          return
        }
        setImmediate(turn)
      }
      // Never from within a promise's reaction: nothing can be drained there.
      setImmediate(turn)
    })
  }

  /** The next event; false if there is none. */
  private happen(): boolean {
    const moment = this.pop()
    if (moment === undefined) return false
    this.nowMs = moment.atMs
    this.events += 1
    this.onEvent?.(moment.atMs, moment.number)
    const { fn } = moment
    // It is out of the heap: to cancel it from now on changes nothing.
    moment.fn = undefined
    fn?.()
    return true
  }

  private push(moment: Moment): void {
    const { heap } = this
    let at = heap.length
    heap.push(moment)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(moment, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = moment
  }

  private pop(): Moment | undefined {
    for (;;) {
      const first = this.heap[0]
      if (first === undefined) return undefined
      const last = this.heap.pop()!
      if (this.heap.length > 0) this.sink(last)
      if (first.fn !== undefined) return first
      this.cancelled -= 1
    }
  }

  private forgetCancelled(): void {
    const kept = this.heap.filter(({ fn }) => fn !== undefined)
    this.heap = []
    this.cancelled = 0
    for (const moment of kept) this.push(moment)
  }

  private sink(moment: Moment): void {
    const { heap } = this
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (!isBefore(heap[child]!, moment)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = moment
  }
}

function isBefore(a: Moment, b: Moment): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number)
}
