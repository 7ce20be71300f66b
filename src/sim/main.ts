import { parseArgs } from 'node:util'
import { simulate } from './simulation.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    trace: { type: 'boolean' },
    faults: { type: 'string' },
  },
})
const faults = values.faults === undefined ? undefined : (values.faults.split(',') as never[])
const from = Number(values.seed ?? values.from ?? 1)
const count = values.seed === undefined ? Number(values.seeds ?? 10) : 1
let simulatedMs = 0
let failed = 0
let events = 0
const begun = performance.now()
for (let seed = from; seed < from + count; seed++) {
  const result = await simulate(seed, {
    ...(values.trace ? { tell: (line: string) => console.log(line) } : {}),
    ...(faults === undefined ? {} : { faults }),
  })
  simulatedMs += result.simulatedMs
  events += result.events
  if (result.problems.length > 0) {
    failed += 1
    console.log(`seed ${seed} FAILED`)
    for (const text of result.problems) console.log(`  ${text.slice(0, 1500)}`)
  }
  if (count === 1) console.log(result)
}
const tookMs = performance.now() - begun
console.log(
  `${count} seeds, ${failed} failed; ${(simulatedMs / tookMs).toFixed(0)} simulated s/s, ${(events / tookMs).toFixed(0)} events/ms`,
)
