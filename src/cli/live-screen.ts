/**
 * A picture that takes the place of the one before on a terminal: written over it in one piece, so that nothing flickers.
 * What does not fit is cut and said, since a terminal cannot go back over lines that have scrolled away.
 */
export class LiveScreen {
  private readonly stream: NodeJS.WriteStream
  private isOpen = false

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream
  }

  /** False as soon as nobody reads any more. */
  show(text: string): boolean {
    const { stream } = this
    if (stream.destroyed || stream.writableEnded) return false
    const start = this.isOpen ? '\x1b[H' : '\x1b[?25l\x1b[2J\x1b[H'
    this.isOpen = true
    stream.write(`${start}${frameOf(text, stream.rows ?? 24)}`)
    return true
  }

  /** The last picture stays; the cursor is back, below it. */
  end(): void {
    if (this.isOpen) this.stream.write('\x1b[?25h\n')
    this.isOpen = false
  }
}

/** Each line ends with "erase to the end of the line", the last one with "erase what is below". */
export function frameOf(text: string, rows: number): string {
  const lines = text.split('\n')
  const room = Math.max(1, rows - 1)
  const shown =
    lines.length <= room
      ? lines
      : [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more lines: enlarge the terminal`]
  return `${shown.join('\x1b[K\n')}\x1b[K\x1b[J`
}
