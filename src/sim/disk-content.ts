/** Content of one simulated file: what the disk has, what the page cache has, and the changes in between. */
const sectorBytes = 512

export interface ContentChange {
  /** Order over the whole disk. */
  readonly index: number
  readonly kind: 'write' | 'truncate'
  /** Start of the write; new size of a truncation. */
  readonly offset: number
  readonly bytes: Uint8Array
  /** Its fsync failed: the page cache calls it clean, so no later fsync writes it. */
  abandoned: boolean
}

export function diskError(code: string, doing: string): Error {
  return Object.assign(new Error(`${code}: ${doing}`), { code })
}

const noBytes = new Uint8Array(0)

export class DiskContent {
  /** The name it has now, or had last. */
  path = ''
  private cached = new Image()
  private stored = new Image()
  private changes: ContentChange[] = []
  private changedFrom = 0

  get size(): number {
    return this.cached.size
  }

  /** All of it as a process sees it. */
  bytes(): Uint8Array {
    return this.cached.slice(0, this.cached.size)
  }

  read(into: Uint8Array, offset: number): number {
    return this.cached.copy(into, offset)
  }

  /** `bytes` belong to this file from now on. */
  write(bytes: Uint8Array, offset: number, index: number): void {
    this.cached.write(bytes, offset)
    this.changes.push({ index, kind: 'write', offset, bytes, abandoned: false })
  }

  truncate(size: number, index: number): void {
    this.cached.resize(size)
    this.changes.push({ index, kind: 'truncate', offset: size, bytes: noBytes, abandoned: false })
  }

  sync(): void {
    if (this.changes.length === 0) return
    let abandoned = this.changes.filter((change) => change.abandoned)
    for (const change of this.changes) {
      if (change.abandoned) continue
      this.store(change)
      // What was written again since is dirty again, and stored now.
      if (change.kind === 'write' && abandoned.length > 0) abandoned = abandoned.flatMap((old) => outside(old, change))
    }
    this.changes = abandoned
  }

  /** As Linux does: the pages are clean from now on, whether or not they reached the disk. */
  failSync(): void {
    for (const change of this.changes) change.abandoned = true
  }

  /** What a power loss may or may not keep, piece by piece. */
  unsynced(bySector: boolean): ContentChange[] {
    return bySector ? this.changes.flatMap(sectors) : [...this.changes]
  }

  /** Power loss: the disk has what was synced and what is kept of the rest. */
  loseCache(kept: readonly ContentChange[]): void {
    for (const change of kept) this.store(change)
    this.changes = []
    this.cached = this.stored.clone()
  }

  /** Damage at rest, under the file system. */
  corrupt(change: (content: Uint8Array) => Uint8Array): void {
    this.changedFrom = 0
    this.stored = new Image(change(this.stored.slice(0, this.stored.size)))
    this.cached = new Image(change(this.cached.slice(0, this.cached.size)))
  }

  /** What is certainly there after a power loss now, to look at: no copy, and good until the file changes. */
  get certain(): Uint8Array {
    return this.stored.view
  }

  /** For the one who looks at `certain` again and again: up to where it is what it was at the last call. */
  takeUnchanged(): number {
    const { changedFrom } = this
    this.changedFrom = Number.POSITIVE_INFINITY
    return changedFrom
  }

  private store(change: ContentChange): void {
    this.stored.apply(change)
    this.changedFrom = Math.min(this.changedFrom, change.offset)
  }

  /** What is certainly there after a power loss now. */
  remnant(): DiskContent {
    const copy = new DiskContent()
    copy.stored = this.stored.clone()
    // Only read: one image does for both.
    copy.cached = copy.stored
    copy.path = this.path
    return copy
  }

  clone(): DiskContent {
    const copy = new DiskContent()
    copy.cached = this.cached.clone()
    copy.stored = this.stored.clone()
    copy.path = this.path
    copy.changes = this.changes.map((change) => ({ ...change }))
    return copy
  }
}

/** Growable bytes; what was never written reads as zeros. */
class Image {
  size: number
  private buffer: Uint8Array

  constructor(content: Uint8Array = noBytes) {
    this.buffer = content.slice()
    this.size = content.length
  }

  /** As much as there is from `offset` on; says how much. */
  copy(into: Uint8Array, offset: number): number {
    const bytes = Math.max(0, Math.min(into.length, this.size - offset))
    into.set(this.buffer.subarray(offset, offset + bytes))
    return bytes
  }

  get view(): Uint8Array {
    return this.buffer.subarray(0, this.size)
  }

  slice(start: number, end: number): Uint8Array {
    return this.buffer.slice(start, Math.max(start, end))
  }

  apply(change: ContentChange): void {
    if (change.kind === 'write') this.write(change.bytes, change.offset)
    else this.resize(change.offset)
  }

  write(bytes: Uint8Array, offset: number): void {
    this.grow(offset + bytes.length)
    this.buffer.set(bytes, offset)
  }

  resize(size: number): void {
    if (size < this.size) this.buffer.fill(0, size, this.size)
    else this.grow(size)
    this.size = size
  }

  clone(): Image {
    const copy = new Image()
    copy.buffer = this.buffer.slice(0, this.size)
    copy.size = this.size
    return copy
  }

  private grow(size: number): void {
    if (size > this.buffer.length) {
      const larger = new Uint8Array(Math.max(size, this.buffer.length * 2))
      larger.set(this.buffer)
      this.buffer = larger
    }
    this.size = Math.max(this.size, size)
  }
}

function part(change: ContentChange, start: number, end: number): ContentChange {
  const bytes = change.bytes.subarray(start - change.offset, end - change.offset)
  return { ...change, offset: start, bytes }
}

/** The parts of `old` that `newer` does not cover. */
function outside(old: ContentChange, newer: ContentChange): ContentChange[] {
  const oldEnd = old.offset + old.bytes.length
  const newerEnd = newer.offset + newer.bytes.length
  if (old.kind !== 'write' || newerEnd <= old.offset || newer.offset >= oldEnd) return [old]
  const rest: ContentChange[] = []
  if (old.offset < newer.offset) rest.push(part(old, old.offset, newer.offset))
  if (newerEnd < oldEnd) rest.push(part(old, newerEnd, oldEnd))
  return rest
}

function sectors(change: ContentChange): ContentChange[] {
  if (change.kind !== 'write') return [change]
  const end = change.offset + change.bytes.length
  const pieces: ContentChange[] = []
  for (let at = change.offset; at < end; ) {
    const next = Math.min(end, (Math.floor(at / sectorBytes) + 1) * sectorBytes)
    pieces.push(part(change, at, next))
    at = next
  }
  return pieces
}
