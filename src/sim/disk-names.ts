/** Names of a simulated disk: directories with a cached and a stored version and the changes in between. */
import { posix } from 'node:path'
import type { FileStat } from '../ports/file-system.js'
import { DiskContent, diskError } from './disk-content.js'

type DiskNode = DiskContent | Directory
type Entries = Map<string, DiskNode>

class Directory {
  cached: Entries = new Map()
  stored: Entries = new Map()
}

interface Place {
  readonly directory: Directory
  readonly name: string
}

/** A rename is kept or lost as a whole, as a journalling file system does it; everything else is independent. */
export interface DirectoryChange {
  readonly index: number
  readonly kind: 'create' | 'rename' | 'remove'
  /** For people and faults: the new name; the old one of a removal. */
  readonly path: string
  readonly at: Place
  readonly from: Place | undefined
  readonly node: DiskNode
}

export class DiskNames {
  private root = new Directory()
  private changes: DirectoryChange[] = []

  private node(path: string): DiskNode {
    let node: DiskNode = this.root
    for (const name of path.split('/')) {
      if (name === '') continue
      if (!(node instanceof Directory)) throw diskError('ENOTDIR', path)
      const next = node.cached.get(name)
      if (next === undefined) throw diskError('ENOENT', path)
      node = next
    }
    return node
  }

  file(path: string): DiskContent {
    const node = this.node(path)
    if (node instanceof Directory) throw diskError('EISDIR', path)
    return node
  }

  private directory(path: string): Directory {
    const node = this.node(path)
    if (!(node instanceof Directory)) throw diskError('ENOTDIR', path)
    return node
  }

  private place(path: string): Place {
    return { directory: this.directory(posix.dirname(path)), name: posix.basename(path) }
  }

  private record(change: DirectoryChange): void {
    this.changes.push(change)
    apply('cached', change)
    if (change.kind !== 'remove') rename(change.node, change.path)
  }

  create(path: string, index: number): DiskContent {
    const at = this.place(path)
    if (at.directory.cached.has(at.name)) throw diskError('EEXIST', path)
    const node = new DiskContent()
    this.record({ index, kind: 'create', path, at, from: undefined, node })
    return node
  }

  makeDirectory(path: string, nextIndex: () => number): void {
    if (this.stat(path) !== undefined) {
      this.directory(path)
      return
    }
    this.makeDirectory(posix.dirname(path), nextIndex)
    const node = new Directory()
    this.record({ index: nextIndex(), kind: 'create', path, at: this.place(path), from: undefined, node })
  }

  rename(from: string, path: string, index: number): void {
    const node = this.node(from)
    const at = this.place(path)
    const replaced = at.directory.cached.get(at.name)
    if (replaced instanceof Directory && replaced.cached.size > 0) throw diskError('ENOTEMPTY', path)
    this.record({ index, kind: 'rename', path, at, from: this.place(from), node })
  }

  remove(path: string, index: number): void {
    const node = this.file(path)
    this.record({ index, kind: 'remove', path, at: this.place(path), from: undefined, node })
  }

  /** Name by name, the deepest first: a power loss may leave any part of the tree. */
  removeTree(path: string, nextIndex: () => number): void {
    if (this.stat(path) === undefined) return
    const node = this.node(path)
    if (node instanceof Directory) {
      for (const name of [...node.cached.keys()]) this.removeTree(posix.join(path, name), nextIndex)
    }
    this.record({ index: nextIndex(), kind: 'remove', path, at: this.place(path), from: undefined, node })
  }

  list(path: string): string[] {
    return [...this.directory(path).cached.keys()].sort()
  }

  stat(path: string): FileStat | undefined {
    try {
      const node = this.node(path)
      return node instanceof Directory ? { kind: 'directory', bytes: 0 } : { kind: 'file', bytes: node.size }
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Stores, in order, what changed in this directory; a rename into or out of it as a whole. */
  sync(path: string): void {
    const directory = this.directory(path)
    const rest: DirectoryChange[] = []
    for (const change of this.changes) {
      if (change.at.directory === directory || change.from?.directory === directory) apply('stored', change)
      else rest.push(change)
    }
    this.changes = rest
  }

  unsynced(): readonly DirectoryChange[] {
    return this.changes
  }

  loseCache(kept: (change: DirectoryChange) => boolean): void {
    for (const change of this.changes) if (kept(change)) apply('stored', change)
    this.changes = []
    const reload = (directory: Directory): void => {
      directory.cached = new Map(directory.stored)
      for (const node of directory.stored.values()) if (node instanceof Directory) reload(node)
    }
    reload(this.root)
  }

  /** Every file that can be reached now or after some power loss, each once, under one of its names. */
  contents(): Array<[string, DiskContent]> {
    const found = new Map<DiskContent, string>()
    const visit = (node: DiskNode, path: string): void => {
      if (node instanceof Directory) {
        for (const [name, child] of [...node.cached, ...node.stored]) visit(child, posix.join(path, name))
      } else if (!found.has(node)) found.set(node, path)
    }
    visit(this.root, '/')
    for (const change of this.changes) visit(change.node, change.path)
    return [...found].map(([content, path]) => [path, content])
  }

  /**
   * What is certainly there after a power loss now, of one directory and of its files only those that are wanted;
   * undefined if it may not be there itself.
   */
  remnant(path: string, wanted: (names: readonly string[]) => readonly string[]): DiskNames | undefined {
    const node = this.certain(path)
    if (node === undefined) return undefined
    const copy = new DiskNames()
    let index = 0
    copy.makeDirectory(path, () => index++)
    const { cached, stored } = copy.directory(path)
    for (const name of wanted([...node.stored.keys()].sort())) {
      const file = node.stored.get(name)
      if (!(file instanceof DiskContent)) continue
      const content = file.remnant()
      cached.set(name, content)
      stored.set(name, content)
    }
    return copy
  }

  /** The names that are certainly in a directory after a power loss now, and the files among them. */
  certainEntries(path: string): ReadonlyMap<string, DiskContent | undefined> | undefined {
    const directory = this.certain(path)
    if (directory === undefined) return undefined
    const entries = new Map<string, DiskContent | undefined>()
    for (const [name, node] of directory.stored) entries.set(name, node instanceof DiskContent ? node : undefined)
    return entries
  }

  private certain(path: string): Directory | undefined {
    let node: DiskNode | undefined = this.root
    for (const name of path.split('/')) {
      if (name !== '') node = node instanceof Directory ? node.stored.get(name) : undefined
    }
    return node instanceof Directory ? node : undefined
  }

  clone(): DiskNames {
    const copies = new Map<DiskNode, DiskNode>()
    const copyNode = (node: DiskNode): DiskNode => {
      const known = copies.get(node)
      if (known !== undefined) return known
      return node instanceof Directory ? copyDirectory(node) : remember(node, node.clone())
    }
    const remember = <T extends DiskNode>(node: DiskNode, copy: T): T => {
      copies.set(node, copy)
      return copy
    }
    const copyDirectory = (node: Directory): Directory => {
      const known = copies.get(node)
      if (known instanceof Directory) return known
      const copy = remember(node, new Directory())
      for (const [name, child] of node.cached) copy.cached.set(name, copyNode(child))
      for (const [name, child] of node.stored) copy.stored.set(name, copyNode(child))
      return copy
    }
    const copyPlace = (place: Place): Place => ({ directory: copyDirectory(place.directory), name: place.name })
    const copy = new DiskNames()
    copy.root = copyDirectory(this.root)
    copy.changes = this.changes.map((change) => ({
      ...change,
      at: copyPlace(change.at),
      from: change.from && copyPlace(change.from),
      node: copyNode(change.node),
    }))
    return copy
  }
}

function apply(version: 'cached' | 'stored', change: DirectoryChange): void {
  const entries = change.at.directory[version]
  if (change.kind === 'remove') {
    if (entries.get(change.at.name) === change.node) entries.delete(change.at.name)
    return
  }
  const old = change.from?.directory[version]
  if (change.from !== undefined && old?.get(change.from.name) === change.node) old.delete(change.from.name)
  entries.set(change.at.name, change.node)
}

function rename(node: DiskNode, path: string): void {
  if (node instanceof Directory) for (const [name, child] of node.cached) rename(child, posix.join(path, name))
  else node.path = path
}
