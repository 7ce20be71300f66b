export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

/** What takes time and is worth looking at on its own. Names and attributes never hold keys, values or secrets. */
export interface Tracer {
  /**
   * Begins a span below the one that is active in the calling program, or below `parent`. Undefined where nobody records
   * it: then nothing further is to be done, which costs nothing.
   */
  start(name: SpanName, attributes?: SpanAttributes, options?: SpanOptions): Span | undefined
}

export type SpanName =
  | 'understudy.write'
  | 'understudy.write.queue'
  | 'understudy.write.flush'
  | 'understudy.write.acks'
  | 'understudy.write.apply'
  | 'understudy.forward'
  | 'understudy.bootstrap'
  | 'understudy.takeover'

export interface SpanOptions {
  readonly parent?: Span
  /** Milliseconds since 1970; absent: now. */
  readonly startMs?: number
}

export interface Span {
  set(attributes: SpanAttributes): void
  event(name: string, attributes?: SpanAttributes): void
  /** Once. With an error the span has failed. `endMs` in milliseconds since 1970; absent: now. */
  end(options?: { readonly error?: unknown; readonly endMs?: number }): void
}
