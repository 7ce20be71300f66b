/**
 * Server-sent events from pieces of text. The browser's own reader of such streams can send no token, so that the
 * stream is read with `fetch` and taken apart here.
 */
export interface StreamEvent {
  readonly event: string
  readonly data: string
}

const longestEvent = 8 * 1024 * 1024

export class EventStreamParser {
  private rest = ''

  /** The events that are complete with this piece. Throws for one that never ends. */
  push(piece: string): StreamEvent[] {
    const parts = (this.rest + piece.replace(/\r/g, '')).split('\n\n')
    this.rest = parts.pop() ?? ''
    if (this.rest.length > longestEvent) throw new Error('an event of the stream is too long')
    return parts.flatMap((part) => {
      let event = 'message'
      const data: string[] = []
      for (const line of part.split('\n')) {
        const colon = line.indexOf(':')
        const field = colon === -1 ? line : line.slice(0, colon)
        const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
        if (field === 'event') event = value
        else if (field === 'data') data.push(value)
      }
      return data.length === 0 ? [] : [{ event, data: data.join('\n') }]
    })
  }
}
