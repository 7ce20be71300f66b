import type { Span, SpanAttributes, SpanName, Tracer } from '../ports/tracer.js'

/** Runs work within a span, if somebody records it. */
export function traced<T>(
  tracer: Tracer | undefined,
  name: SpanName,
  attributes: SpanAttributes,
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  const span = tracer?.start(name, attributes)
  return span === undefined ? work(undefined) : recorded(span, work)
}

async function recorded<T>(span: Span, work: (span: Span) => Promise<T>): Promise<T> {
  try {
    const result = await work(span)
    span.end()
    return result
  } catch (error) {
    span.end({ error })
    throw error
  }
}
