import { limits } from '../../core/limits.js'
import { UnderstudyError } from '../../errors.js'

/**
 * Where a cluster's keys are in etcd, all below `/understudy/<cluster>/`:
 *
 *   coordinator-id     random id of this store, made once
 *   shards/<shard>     the shard's record
 *   members/<node>     a registration, attached to the lease of its process
 *
 * Names have no slash, so that no key lies within another and a prefix that ends in one has only its own keys.
 */
export class Keys {
  readonly root: string
  readonly coordinatorId: Buffer
  /** All keys of the cluster: from `prefix` up to but without `prefixEnd`. */
  readonly prefix: Buffer
  readonly prefixEnd: Buffer

  constructor(cluster: string) {
    checkName('cluster', cluster, limits.clusterNameBytesMax)
    this.root = `/understudy/${cluster}/`
    this.prefix = Buffer.from(this.root)
    this.prefixEnd = Buffer.from(`/understudy/${cluster}0`)
    this.coordinatorId = Buffer.from(`${this.root}coordinator-id`)
  }

  shard(shard: string): Buffer {
    checkName('shard', shard, limits.shardNameBytesMax)
    return Buffer.from(`${this.root}shards/${shard}`)
  }

  member(node: string): Buffer {
    checkName('node', node, limits.nodeNameBytesMax)
    return Buffer.from(`${this.root}members/${node}`)
  }

  /** What a key is; undefined: not one of ours. */
  parse(key: Buffer): ParsedKey | undefined {
    const text = key.toString()
    if (!text.startsWith(this.root)) return undefined
    const [kind, name, ...more] = text.slice(this.root.length).split('/')
    if (more.length > 0) return undefined
    if (kind === 'coordinator-id' && name === undefined) return { kind }
    if (name === undefined) return undefined
    if (kind === 'shards' && isName(name, limits.shardNameBytesMax)) return { kind, name }
    if (kind === 'members' && isName(name, limits.nodeNameBytesMax)) return { kind, name }
    return undefined
  }
}

export type ParsedKey =
  | { readonly kind: 'coordinator-id' }
  | { readonly kind: 'shards'; readonly name: string }
  | { readonly kind: 'members'; readonly name: string }

function isName(name: string, bytesMax: number): boolean {
  return name.length <= bytesMax && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)
}

function checkName(what: string, name: string, bytesMax: number): void {
  if (isName(name, bytesMax)) return
  throw new UnderstudyError(
    'CONFIG',
    `${JSON.stringify(name)} is no name of a ${what}: 1 to ${bytesMax} of A-Z a-z 0-9 . _ - that begin with a letter or digit`,
  )
}
