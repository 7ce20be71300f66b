import { UnderstudyError } from '../errors.js'

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** Name of the option, or empty for the file as a whole. */
  readonly path: string
  readonly message: string
  readonly suggestion?: string
  /** Where the value came from: a file, `UNDERSTUDY_NODE`, `--node`. */
  readonly source?: string
  readonly line?: number
}

export function formatProblem(problem: ConfigProblem): string {
  const where = [problem.source, problem.line].filter((part) => part !== undefined).join(':')
  const place = where === '' ? '' : `${where}: `
  const what = problem.path === '' ? problem.message : `${problem.path}: ${problem.message}`
  return `${place}${what}${problem.suggestion === undefined ? '' : ` (${problem.suggestion})`}`
}

/** All problems of a configuration at once. */
export class ConfigError extends UnderstudyError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[], hint?: string) {
    const lines = problems.map((problem) => `  ${formatProblem(problem)}`)
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    super('CONFIG', `${count} in the configuration:\n${lines.join('\n')}`, hint === undefined ? {} : { hint })
    this.problems = problems
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), problems: this.problems }
  }
}
