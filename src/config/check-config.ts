import { checkOptions } from './check-options.js'
import type { NodeOptions } from './node-options.js'
import { ConfigError, type ConfigProblem } from './problem.js'
import { type ConfigSources, mergeSources } from './sources.js'

export interface CheckedConfig {
  readonly problems: readonly ConfigProblem[]
  readonly options: NodeOptions | undefined
}

/** Reads all sources, and reports all problems of all of them at once, each with where the value came from. */
export function checkConfig(sources: ConfigSources): CheckedConfig {
  const merged = mergeSources(sources)
  const checked = checkOptions(merged.values)
  // A file that cannot be read makes everything in it "missing": only the cause is told.
  if (merged.problems.some((problem) => problem.path === '')) return { problems: merged.problems, options: undefined }
  const located = checked.problems.map(
    (problem): ConfigProblem => ({ ...problem, ...merged.origins.get(problem.path) }),
  )
  const problems = [...merged.problems, ...located]
  return { problems, options: problems.length === 0 ? checked.options : undefined }
}

export function loadConfig(sources: ConfigSources): NodeOptions {
  const { problems, options } = checkConfig(sources)
  if (options === undefined) throw new ConfigError(problems)
  return options
}
