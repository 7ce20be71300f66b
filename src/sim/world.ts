import { type LogFields, type Logger, silentLogger } from '../ports/logger.js'
import { Links } from './links.js'
import type { Plan } from './plan.js'
import { SeededStreams } from './seeded-random.js'
import { SimulatedProcess } from './simulated-process.js'
import { Trace } from './trace.js'
import { VirtualTime } from './virtual-time.js'

/** Time, chance, network and record of one run: everything in it follows from the seed. */
export class World {
  readonly plan: Plan
  readonly streams: SeededStreams
  readonly time = new VirtualTime()
  readonly links: Links
  readonly trace: Trace
  private readonly clockRates = new Map<string, number>()
  private processCount = 0

  constructor(plan: Plan, tell: ((line: string) => void) | undefined) {
    this.plan = plan
    this.streams = new SeededStreams(plan.seed)
    this.trace = new Trace(() => this.time.nowMs, tell)
    this.links = new Links(this.time, this.streams.of('network'), plan.links)
    this.time.onEvent = (atMs, number) => {
      this.trace.number(atMs)
      this.trace.number(number)
    }
    const random = this.streams.of('clock rates')
    for (const node of [...plan.nodes, 'w']) {
      this.clockRates.set(node, 1 + random.between(-plan.clockDrift, plan.clockDrift))
    }
  }

  process(node: string): SimulatedProcess {
    this.processCount += 1
    return new SimulatedProcess({
      time: this.time,
      random: this.streams.of(`process ${this.processCount} of ${node}`),
      rate: this.clockRates.get(node) ?? 1,
      wallOffsetMs: 0,
    })
  }

  /** Log lines are part of the trace; warnings and errors of the story too. */
  logger(node: string): Logger {
    const { trace } = this
    const line = (level: string, fields: LogFields, message: string) => {
      trace.text(node)
      trace.text(message)
      if (trace.isTold) trace.detail(node, `${level} ${message} ${describeFields(fields)}`)
    }
    const logger: Logger = {
      ...silentLogger,
      info: (fields, message) => line('info', fields, message),
      warn: (fields, message) => line('warn', fields, message),
      error: (fields, message) => line('error', fields, message),
      child: () => logger,
    }
    return logger
  }
}

function describeFields(fields: LogFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : JSON.stringify(value)}`)
    .join(' ')
}
