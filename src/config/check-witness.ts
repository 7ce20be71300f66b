import type { CoordinatorOptions } from './coordinator.js'
import { type OptionKey, optionsOfData } from './option-table.js'

type Report = (path: OptionKey, message: string, suggestion?: string) => void

/** What a witness needs, and what makes no sense beside it. */
export function checkWitness(
  question: {
    readonly coordinator: CoordinatorOptions | undefined
    readonly node: string | undefined
    readonly input: Readonly<Record<string, unknown>>
  },
  report: Report,
): void {
  const { coordinator, node, input } = question
  for (const key of optionsOfData) {
    if (input[key] !== undefined) report(key, 'has no meaning for a witness, which holds no data', 'leave it out')
  }
  const example = `coordinator = "builtin://${node ?? 'w'}=HOST:PORT"`
  if (input.coordinator === undefined) {
    report('coordinator', 'is missing: a witness is the voter that it names', example)
  } else if (coordinator !== undefined && coordinator.kind !== 'builtin') {
    report('witness', `needs the builtin coordinator, not ${coordinator.url}`, example)
  } else if (coordinator?.kind === 'builtin' && node !== undefined) {
    const names = coordinator.voters.map((voter) => voter.node)
    if (!names.includes(node)) {
      report('witness', `node ${node} is not the voter ${names.join(', ')} that the coordinator names`, example)
    }
  }
}
