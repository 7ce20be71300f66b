import { type FaultKind, faultKinds } from './fault-kinds.js'
import { type OperationKind, operationKinds } from './operation-kinds.js'
import type { SimulationResult } from './simulation.js'

/** Sums over runs, for the end of the report. */
export class Tally {
  seeds = 0
  failed = 0
  private simulatedMs = 0
  private events = 0
  private acknowledged = 0
  private operations = 0
  private epochs = 0
  private readonly faults = new Map<FaultKind, number>()
  private readonly kinds = new Map<OperationKind, number>()
  private readonly answers = new Map<string, number>()

  add(result: SimulationResult): void {
    this.seeds += 1
    if (result.problems.length > 0) this.failed += 1
    this.simulatedMs += result.simulatedMs
    this.events += result.events
    this.acknowledged += result.acknowledged
    this.operations += result.operations
    this.epochs += result.epochs
    for (const [kind, count] of result.faults) this.faults.set(kind, (this.faults.get(kind) ?? 0) + count)
    for (const [kind, count] of result.kinds) this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + count)
    for (const [what, count] of result.answers) this.answers.set(what, (this.answers.get(what) ?? 0) + count)
  }

  describe(tookMs: number): string {
    const answers = [...this.answers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `${count} ${what}`)
    // Every kind, also one that was never injected: that would be a hole.
    const faults = faultKinds.map((kind) => `${this.faults.get(kind) ?? 0} ${kind}`)
    const kinds = operationKinds.map((kind) => `${this.kinds.get(kind) ?? 0} ${kind}`)
    return [
      `${(this.simulatedMs / 1000).toFixed(0)} simulated seconds in ${(tookMs / 1000).toFixed(1)} s (${(this.simulatedMs / tookMs).toFixed(0)} per second), ${this.events} events`,
      `${this.acknowledged} writes acknowledged in ${this.epochs} epochs, ${this.operations} operations judged`,
      `answers: ${answers.join(', ')}`,
      `besides: ${kinds.join(', ')}`,
      `faults: ${faults.join(', ')}`,
    ].join('\n')
  }
}
