import { UnderstudyError } from '../errors.js'
import type { Coordinator, MemberAddress } from '../ports/coordinator.js'

/**
 * Members from the configuration, promotion by hand. The records are kept by the nodes themselves; what makes a
 * promotion safe is that it must reach enough of them (core/promotion.ts).
 */
export function createStaticCoordinator(options: {
  readonly node: string
  /** All nodes, the own one included or not. */
  readonly members: readonly MemberAddress[]
  readonly initialPrimary: string | undefined
}): Coordinator {
  const { node, members, initialPrimary } = options
  const names = new Set([node, ...members.map((member) => member.node)])
  if (initialPrimary !== undefined && !names.has(initialPrimary)) {
    throw new UnderstudyError(
      'CONFIG',
      `the initial primary ${initialPrimary} is not among the nodes (${[...names].join(', ')})`,
    )
  }
  const others = members.filter((member) => member.node !== node)
  const listed = members.map((member) => `${member.node}=${member.address}`).join(',')
  return {
    kind: 'static',
    description: listed === '' ? 'static (single node)' : `static://${listed}`,
    members: others,
    initialPrimary,
  }
}
