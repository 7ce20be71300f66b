import sortedBtree from 'sorted-btree'

/** Ordered by unsigned bytes; `clone()` is copy-on-write. */
export type BytesTree<V> = import('sorted-btree').default<Uint8Array, V>

export function newBytesTree<V>(): BytesTree<V> {
  return new sortedBtree.default<Uint8Array, V>(undefined, Buffer.compare)
}
