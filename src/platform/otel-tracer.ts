import { context, type Span as OtelSpan, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Span, SpanAttributes, Tracer } from '../ports/tracer.js'

/** Spans through the API of OpenTelemetry: until the program registers an SDK, nobody records anything. */
export function createOtelTracer(version: string): Tracer {
  const tracer = trace.getTracer('understudy-db', version)
  return {
    start(name, attributes, options) {
      const parent = options?.parent instanceof RecordedSpan ? options.parent.span : undefined
      const scope = parent === undefined ? context.active() : trace.setSpan(context.active(), parent)
      const span = tracer.startSpan(
        name,
        {
          ...(attributes === undefined ? {} : { attributes: { ...attributes } }),
          ...(options?.startMs === undefined ? {} : { startTime: options.startMs }),
        },
        scope,
      )
      return span.isRecording() ? new RecordedSpan(span) : undefined
    },
  }
}

class RecordedSpan implements Span {
  readonly span: OtelSpan

  constructor(span: OtelSpan) {
    this.span = span
  }

  set(attributes: SpanAttributes): void {
    this.span.setAttributes({ ...attributes })
  }

  event(name: string, attributes: SpanAttributes = {}): void {
    this.span.addEvent(name, { ...attributes })
  }

  end(options: { readonly error?: unknown; readonly endMs?: number } = {}): void {
    const { error, endMs } = options
    if (error !== undefined) {
      const message = error instanceof Error ? error.message : String(error)
      this.span.setStatus({ code: SpanStatusCode.ERROR, message })
      if (error instanceof Error && 'code' in error) this.span.setAttribute('understudy.error.code', String(error.code))
    }
    this.span.end(endMs)
  }
}
