/** How often a value was how large, since the process began. Its size does not grow with what it counts. */
export interface HistogramSnapshot {
  /** Upper bounds of the buckets, ascending, each included in its bucket. */
  readonly bounds: readonly number[]
  /** Values in each bucket alone; one more than bounds: the last is for what is above all of them. */
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

export class Histogram {
  private readonly bounds: readonly number[]
  private readonly counts: number[]
  private sum = 0
  private count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Array<number>(bounds.length + 1).fill(0)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.bounds.length && value > this.bounds[bucket]!) bucket += 1
    this.counts[bucket]! += 1
    this.sum += value
    this.count += 1
  }

  get snapshot(): HistogramSnapshot {
    return { bounds: this.bounds, counts: [...this.counts], sum: this.sum, count: this.count }
  }
}
