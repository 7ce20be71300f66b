/** Spans of writes, bootstraps and takeovers, through OpenTelemetry's API and a provider made by hand. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type Attributes,
  type Context,
  context,
  type Link,
  type Span,
  type SpanContext,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { createOtelTracer } from '#src/platform/otel-tracer.js'
import { failureOf, put, until, untilInSync, withCluster } from '../support/cluster.js'

/** Keeps what it is told, as an SDK would. */
class KeptSpan implements Span {
  readonly name: string
  readonly parent: SpanContext | undefined
  readonly attributes: Record<string, unknown> = {}
  readonly events: string[] = []
  readonly startMs: number
  status: SpanStatus = { code: SpanStatusCode.UNSET }
  endMs: number | undefined
  private readonly own: SpanContext

  constructor(name: string, options: SpanOptions, scope: Context, number: number) {
    this.name = name
    this.parent = trace.getSpanContext(scope)
    Object.assign(this.attributes, options.attributes)
    this.startMs = options.startTime === undefined ? Date.now() : Number(options.startTime)
    const spanId = number.toString(16).padStart(16, '0')
    this.own = { traceId: this.parent?.traceId ?? spanId.repeat(2), spanId, traceFlags: TraceFlags.SAMPLED }
  }

  spanContext(): SpanContext {
    return this.own
  }

  setAttribute(key: string, value: unknown): this {
    this.attributes[key] = value
    return this
  }

  setAttributes(attributes: Attributes): this {
    Object.assign(this.attributes, attributes)
    return this
  }

  addEvent(name: string): this {
    this.events.push(name)
    return this
  }

  addLink(_link: Link): this {
    return this
  }

  addLinks(_links: Link[]): this {
    return this
  }

  setStatus(status: SpanStatus): this {
    this.status = status
    return this
  }

  updateName(): this {
    throw new Error('names of spans do not change')
  }

  end(endTime?: TimeInput): void {
    assert.equal(this.endMs, undefined, `${this.name} ends once`)
    this.endMs = endTime === undefined ? Date.now() : Number(endTime)
  }

  isRecording(): boolean {
    return this.endMs === undefined
  }

  recordException(): void {}
}

const spans: KeptSpan[] = []
const provider = {
  getTracer: (name: string): Tracer => {
    assert.equal(name, 'understudy-db')
    return {
      startSpan: (spanName, options = {}, scope = context.active()) => {
        const span = new KeptSpan(spanName, options, scope, spans.length + 1)
        spans.push(span)
        return span
      },
      startActiveSpan: () => {
        throw new Error('nothing runs within a span that it has not asked for')
      },
    }
  },
}

const of = (name: string) => spans.filter((span) => span.name === name)
const childrenOf = (span: KeptSpan) => spans.filter((one) => one.parent?.spanId === span.spanContext().spanId)

describe('tracing', () => {
  test('without an SDK nothing is recorded, and nothing is done', () => {
    assert.equal(createOtelTracer('1.0.0').start('understudy.write'), undefined)
  })

  describe('with a provider that is registered through the API', () => {
    before(() => assert.ok(trace.setGlobalTracerProvider(provider)))
    after(() => trace.disable())

    test('a write is a span: gathering, then fsync and acknowledgements at once, then applying', async () => {
      const tracer = createOtelTracer('1.0.0')
      await withCluster({ storage: 'simulated', nodes: ['a', 'b'], tracer }, async (cluster) => {
        await cluster.startAll()
        await untilInSync(cluster, 'a', ['a', 'b'])
        spans.length = 0
        const { sequence } = await cluster.shard('a').write([put('secret-key', 'secret-value')])
        const [write, ...more] = of('understudy.write')
        assert.equal(more.length, 0)
        assert.equal(write!.status.code, SpanStatusCode.UNSET)
        assert.equal(write!.attributes['understudy.sequence'], sequence)
        assert.equal(write!.attributes['understudy.operations'], 1)
        const [queue, flush, acks, apply, ...rest] = childrenOf(write!)
        assert.deepEqual(rest, [])
        assert.deepEqual(
          [queue, flush, acks, apply].map((span) => span?.name),
          ['queue', 'flush', 'acks', 'apply'].map((phase) => `understudy.write.${phase}`),
        )
        const about = (a: number, b: number) => assert.ok(Math.abs(a - b) < 2, `${a} and ${b} are one moment`)
        about(queue!.endMs!, flush!.startMs)
        about(queue!.endMs!, acks!.startMs)
        about(acks!.endMs!, apply!.startMs)
        about(apply!.endMs!, write!.endMs!)
        // A commit is fsynced on both: neither here alone, nor there alone.
        assert.ok(acks!.endMs! >= flush!.endMs! - 2)
        for (const span of spans) {
          assert.notEqual(span.endMs, undefined, `${span.name} has ended`)
          assert.ok(span.endMs! >= span.startMs - 2, `${span.name} does not end before it begins`)
        }
        assert.ok(!JSON.stringify(spans.map((span) => [span.attributes, span.status])).includes('secret'))
      })
    })

    test('a span is a child of the one that is active in the calling program', async () => {
      const tracer = createOtelTracer('1.0.0')
      const parent = new KeptSpan('program', {}, context.active(), 999_999)
      const scope = trace.setSpan(context.active(), parent)
      context.setGlobalContextManager({
        active: () => scope,
        with: (_scope, fn, own, ...args) => fn.call(own!, ...args),
        bind: (_scope, target) => target,
        enable() {
          return this
        },
        disable() {
          return this
        },
      })
      try {
        await withCluster({ storage: 'simulated', nodes: ['a'], tracer }, async (cluster) => {
          await cluster.startAll()
          await until(() => cluster.shard('a').role === 'primary', 'a is primary')
          spans.length = 0
          await cluster.shard('a').write([put('k', 'v')])
          assert.equal(of('understudy.write')[0]?.parent?.spanId, parent.spanContext().spanId)
        })
      } finally {
        context.disable()
      }
    })

    test('a write that is not acknowledged in time ends its span with the code of its error', async () => {
      const tracer = createOtelTracer('1.0.0')
      await withCluster({ storage: 'simulated', nodes: ['a', 'b'], tracer }, async (cluster) => {
        await cluster.startAll()
        await untilInSync(cluster, 'a', ['a', 'b'])
        spans.length = 0
        cluster.isolate('b')
        const failure = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 100 }))
        const [write] = of('understudy.write')
        assert.equal(write?.status.code, SpanStatusCode.ERROR)
        assert.equal(write?.attributes['understudy.error.code'], failure.code)
        assert.deepEqual(
          childrenOf(write!).map((span) => span.name),
          ['understudy.write.queue', 'understudy.write.flush', 'understudy.write.acks'],
        )
      })
    })

    test('a bootstrap and a takeover are spans, with how they ended', async () => {
      const tracer = createOtelTracer('1.0.0')
      await withCluster({ storage: 'simulated', coordinator: 'memory', tracer }, async (cluster) => {
        spans.length = 0
        await cluster.startAll()
        const primary = () =>
          cluster.names.find((name) => {
            try {
              return cluster.shard(name).status().state === 'primary'
            } catch {
              return false
            }
          })
        await until(() => primary() !== undefined, 'a primary')
        const first = primary()!
        await untilInSync(cluster, first, ['a', 'b', 'c'])
        const bootstraps = of('understudy.bootstrap')
        assert.ok(bootstraps.length >= 2, `${bootstraps.length} bootstraps`)
        for (const span of bootstraps) {
          assert.notEqual(span.endMs, undefined)
          assert.equal(span.attributes['understudy.source'], first)
        }
        spans.length = 0
        cluster.kill(first)
        await until(() => primary() !== undefined, 'another primary')
        const second = primary()!
        const takeover = of('understudy.takeover').find((span) => span.status.code === SpanStatusCode.UNSET)
        assert.ok(takeover !== undefined)
        assert.equal(takeover.attributes['understudy.kind'], 'failover')
        assert.match(String(takeover.attributes['understudy.epoch']), new RegExp(`^\\d+@${second}$`))
        assert.deepEqual(takeover.events, ['the record names this node'])
        await until(() => takeover.endMs !== undefined, 'its span has ended')
        // From when the primary was missed on: nobody takes over at once.
        assert.ok(takeover.endMs! - takeover.startMs > 100)
      })
    })
  })
})
