import { statSync } from 'node:fs'

/**
 * Looks at files again and again: by name, so that a file that was replaced, or a link that was turned (as Kubernetes
 * does), is seen. Watching by the operating system would miss both on some file systems.
 */
export class WatchedFiles {
  readonly #paths: readonly string[]
  readonly #onChange: () => void
  readonly #timer: NodeJS.Timeout
  #seen: string

  constructor(paths: readonly string[], intervalMs: number, onChange: () => void) {
    this.#paths = paths
    this.#onChange = onChange
    this.#seen = this.#look()
    this.#timer = setInterval(() => this.check(), intervalMs)
    this.#timer.unref()
  }

  /** Looks now. */
  check(): void {
    const found = this.#look()
    if (found === this.#seen) return
    this.#seen = found
    this.#onChange()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): string {
    return this.#paths.map(stampOf).join('\n')
  }
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
