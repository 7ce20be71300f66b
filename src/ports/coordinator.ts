/**
 * Who takes part, and who keeps the record of each shard. With the static coordinator the members come from the
 * configuration and every node keeps the record itself; promotion is by hand.
 */
export interface Coordinator {
  readonly kind: 'static'
  /** As configured, without secrets: for status and messages. */
  readonly description: string
  /** All other nodes. */
  readonly members: readonly MemberAddress[]
  /** Who creates the history of an empty cluster; undefined: only a promotion by hand does. */
  readonly initialPrimary: string | undefined
}

export interface MemberAddress {
  readonly node: string
  readonly address: string
}
