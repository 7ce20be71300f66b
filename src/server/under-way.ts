/** Counts requests from their headers to the end of their answers. */
export class UnderWay {
  /** Nothing new is taken. */
  closed = false
  count = 0
  #onNone: (() => void) | undefined

  begin(): void {
    this.count += 1
  }

  end(): void {
    this.count -= 1
    if (this.count === 0) this.#onNone?.()
  }

  /** False if something is still under way when the time is over. */
  async ended(timeoutMs: number): Promise<boolean> {
    if (this.count === 0) return true
    let timer: NodeJS.Timeout | undefined
    const none = new Promise<void>((resolve) => {
      this.#onNone = resolve
    })
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([none, late])
    clearTimeout(timer)
    return this.count === 0
  }
}
