import cliProgress from 'cli-progress'

/** How far something is, on a terminal's standard error; nowhere else, so that what a script reads stays clean. */
export class ProgressBar {
  private bar: cliProgress.SingleBar | undefined
  private readonly isShown = process.stderr.isTTY === true

  /** `total` may be an estimate: what exceeds it is not shown as whole before the end. */
  update(phase: string, value: number, total: number | undefined, text: string): void {
    if (!this.isShown) return
    const whole = Math.max(1, total ?? 1)
    const shown = total === undefined ? 0 : Math.min(value, whole * 0.99)
    const payload = { phase, text }
    if (this.bar === undefined) {
      this.bar = new cliProgress.SingleBar({
        format: '{phase} [{bar}] {percentage} % · {text}',
        barsize: 20,
        hideCursor: true,
        clearOnComplete: true,
        barCompleteChar: '=',
        barIncompleteChar: ' ',
        stream: process.stderr,
      })
      this.bar.start(whole, shown, payload)
      return
    }
    this.bar.setTotal(whole)
    this.bar.update(shown, payload)
  }

  /** Leaves the terminal as it was. */
  end(): void {
    this.bar?.stop()
    this.bar = undefined
  }
}
