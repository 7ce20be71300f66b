/** What clients and operators do in some runs besides writing and reading; the report counts it. */
export const operationKinds = [
  /** Reads that ask for a position that this client has seen, or that anybody was told. */
  'read-own-position',
  'read-told-position',
  /** Reads that say how old the data may be. */
  'read-max-lag',
  'create-family',
  'drop-family',
  'write-family',
  /** One batch in two families. */
  'write-across-families',
  'read-family',
  /** A forced promotion has replaced committed blocks; acknowledged writes were among what was given up. */
  'history-replaced',
  'acknowledged-given-up',
  /** A bootstrap has brought the content as files of a checkpoint. */
  'bootstrap-by-files',
  /** All keys and families of a node, held against what was folded. */
  'compare-content',
] as const

export type OperationKind = (typeof operationKinds)[number]

export class OperationCounts {
  readonly counts = new Map<OperationKind, number>()

  add(kind: OperationKind, count = 1): void {
    if (count > 0) this.counts.set(kind, (this.counts.get(kind) ?? 0) + count)
  }
}
