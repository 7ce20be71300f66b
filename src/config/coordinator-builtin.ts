import { formatAddress } from '../core/address.js'
import { readAddress } from './address.js'
import { namePattern } from './name.js'

export interface BuiltinVoter {
  readonly node: string
  readonly address: string
}

/**
 * `builtin://w=10.0.0.9:7400`: who keeps the records. Data nodes are not listed: they find each other through the
 * voter. The list is a seed: what the voter has in its own journal wins (S6).
 */
export interface BuiltinCoordinator {
  readonly kind: 'builtin'
  /** Exactly one today. */
  readonly voters: readonly BuiltinVoter[]
  readonly url: string
}

interface Problem {
  readonly message: string
  readonly suggestion?: string
}

const builtinExample = 'builtin://w=10.0.0.9:7400'

/** What follows `builtin://`; all problems at once. */
export function parseBuiltinCoordinator(rest: string): {
  readonly coordinator: BuiltinCoordinator | undefined
  readonly problems: readonly Problem[]
} {
  const problems: Problem[] = []
  const suggestion = `for example ${builtinExample}`
  const mark = rest.indexOf('?')
  if (mark !== -1) problems.push({ message: `"builtin:" takes no parameters, not "${rest.slice(mark)}"`, suggestion })
  const list = mark === -1 ? rest : rest.slice(0, mark)
  const parts = list === '' ? [] : list.split(',')
  if (parts.length === 0) problems.push({ message: 'names no voter', suggestion })
  if (parts.length > 1) {
    problems.push({
      message: `names ${parts.length} voters; this release has exactly one`,
      suggestion: 'list the voter alone: data nodes find each other through it, and are not listed',
    })
  }
  const voters = parts.map((part) => parseVoter(part, problems)).filter((voter) => voter !== undefined)
  if (problems.length > 0) return { coordinator: undefined, problems }
  const url = `builtin://${voters.map((voter) => `${voter.node}=${voter.address}`).join(',')}`
  return { coordinator: { kind: 'builtin', voters, url }, problems }
}

function parseVoter(part: string, problems: Problem[]): BuiltinVoter | undefined {
  const equals = part.indexOf('=')
  if (equals === -1) {
    problems.push({ message: `voter "${part}" is not name=host:port`, suggestion: `for example ${builtinExample}` })
    return undefined
  }
  const node = part.slice(0, equals)
  const text = part.slice(equals + 1)
  if (!namePattern.test(node)) {
    problems.push({ message: `voter "${node}" is no valid name of a node` })
    return undefined
  }
  const parsed = readAddress(text)
  if ('reason' in parsed) {
    const { reason, suggestion } = parsed
    problems.push({
      message: `address of voter ${node}, "${text}", ${reason}`,
      ...(suggestion === undefined ? {} : { suggestion }),
    })
    return undefined
  }
  if (parsed.address.port === 0) {
    problems.push({ message: `address of voter ${node}, "${text}", names port 0: nobody could connect to it` })
    return undefined
  }
  return { node, address: formatAddress(parsed.address) }
}
