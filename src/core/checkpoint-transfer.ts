import { invariant } from './invariant.js'

export interface FileToFetch {
  readonly name: string
  readonly bytes: number
  readonly checksum: number
}

export interface FileRange {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

export type BootstrapMethod = 'checkpoint' | 'range-chunks'

export type MethodChoice =
  /** Ask this source for files. */
  | 'checkpoint'
  | 'range-chunks'
  /** Files were begun, this source has none, and another one may have. */
  | 'elsewhere'

/**
 * How this attempt gets the content. What was begun with chunks goes on so: they can be taken from any node. Files are
 * given up for chunks only when no source is left that could hand out the rest.
 */
export function chooseMethod(question: {
  /** Both engines can, as far as is known: the format here, and whether the source speaks of files at all. */
  readonly ownFormat: string | undefined
  readonly sourceSpeaks: boolean
  /** Has this source said no? */
  readonly sourceRefused: boolean
  readonly begun: BootstrapMethod | undefined
  /** Content that is here by chunks. */
  readonly chunkBytes: number
  /** Is there another source that has not said no? */
  readonly othersMay: boolean
}): MethodChoice {
  const { ownFormat, sourceSpeaks, sourceRefused, begun, chunkBytes, othersMay } = question
  if (ownFormat === undefined) return 'range-chunks'
  if (begun === 'range-chunks' && chunkBytes > 0) return 'range-chunks'
  if (sourceSpeaks && !sourceRefused) return 'checkpoint'
  return begun === 'checkpoint' && othersMay ? 'elsewhere' : 'range-chunks'
}

/**
 * Names become paths here: only plain names of files, none twice. Undefined if all is well, else what is wrong.
 */
export function refuseFiles(files: readonly FileToFetch[], announced: { readonly bytes: number }): string | undefined {
  const names = new Set<string>()
  let bytes = 0
  for (const file of files) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(file.name) || file.name.endsWith(partSuffix)) {
      return `${JSON.stringify(file.name)} is no name of a file`
    }
    if (names.has(file.name)) return `${file.name} is listed twice`
    names.add(file.name)
    bytes += file.bytes
  }
  if (bytes !== announced.bytes) return `${bytes} bytes are listed, ${announced.bytes} announced`
  return undefined
}

/** Of a file that is not whole, or was not verified yet. */
export const partSuffix = '.part'

/** What lies in the directory of the files, against the list: what is looked at, and what goes. */
export function reconcileFiles(
  files: readonly FileToFetch[],
  present: ReadonlyArray<{ readonly name: string; readonly bytes: number }>,
): { readonly toVerify: readonly number[]; readonly toRemove: readonly string[] } {
  const indexByName = new Map(files.map((file, index) => [file.name, index]))
  const toVerify: number[] = []
  const toRemove: string[] = []
  for (const { name, bytes } of present) {
    const index = indexByName.get(name)
    if (index !== undefined && files[index]!.bytes === bytes) toVerify.push(index)
    else toRemove.push(name)
  }
  return { toVerify, toRemove }
}

type Stage =
  /** `asked` and `written` count bytes from the beginning of the file. */
  | { readonly type: 'fetching'; asked: number; written: number; readonly open: Map<number, number> }
  | { readonly type: 'verifying' }
  | { readonly type: 'whole' }

/**
 * Which part of which file is asked for next, and when a file is whole: in the order of the list, a bounded number of
 * requests and of files under way. A range counts as under way until it is written, so that what is in memory is
 * bounded by what was asked for.
 */
export class TransferPlan {
  private readonly files: readonly FileToFetch[]
  private readonly rangeBytes: number
  private readonly requestsMax: number
  private readonly filesMax: number
  private readonly attemptsMax: number
  private readonly stages: Array<Stage | undefined>
  private readonly attempts: number[]
  private wholeCount = 0
  private underWay = 0
  private requests = 0
  /** Files before it are under way or whole, except those in `again`. */
  private next = 0
  private readonly again: number[] = []

  constructor(
    files: readonly FileToFetch[],
    bounds: {
      readonly rangeBytes: number
      readonly requestsMax: number
      readonly filesMax: number
      readonly attemptsMax: number
    },
  ) {
    this.files = files
    this.rangeBytes = bounds.rangeBytes
    this.requestsMax = bounds.requestsMax
    this.filesMax = bounds.filesMax
    this.attemptsMax = bounds.attemptsMax
    this.stages = files.map(() => undefined)
    this.attempts = files.map(() => 0)
  }

  get isDone(): boolean {
    return this.wholeCount === this.files.length
  }

  /** Requests that are not written yet. */
  get open(): number {
    return this.requests
  }

  /** Present and verified before anything is asked for. */
  keep(file: number): void {
    invariant(this.stages[file] === undefined, 'a file is kept before it is asked for')
    this.stages[file] = { type: 'whole' }
    this.wholeCount += 1
  }

  /** The next part to ask for; undefined while there is none, or while enough is under way. */
  ask(): FileRange | undefined {
    if (this.requests >= this.requestsMax) return undefined
    const file = this.fileToAsk()
    if (file === undefined) return undefined
    const stage = this.stages[file]
    invariant(stage?.type === 'fetching', 'a file is asked for while it is fetched')
    const offset = stage.asked
    const bytes = Math.min(this.rangeBytes, this.files[file]!.bytes - offset)
    stage.asked += bytes
    stage.open.set(offset, bytes)
    this.requests += 1
    return { file, offset, bytes }
  }

  /** Was exactly this asked for, and has not come yet? */
  expects(range: FileRange): boolean {
    const stage = this.stages[range.file]
    return stage?.type === 'fetching' && stage.open.get(range.offset) === range.bytes
  }

  /** A part has come: it is not expected a second time. */
  received(range: FileRange): void {
    invariant(this.expects(range), 'what comes was asked for')
    const stage = this.stages[range.file]
    if (stage?.type === 'fetching') stage.open.set(range.offset, -1)
  }

  /** A part is written. Returns true when it was the last one of its file, which is to be verified then. */
  written(range: FileRange): boolean {
    const stage = this.stages[range.file]
    invariant(stage?.type === 'fetching' && stage.open.delete(range.offset), 'what is written was asked for')
    this.requests -= 1
    stage.written += range.bytes
    if (stage.written < this.files[range.file]!.bytes) return false
    this.stages[range.file] = { type: 'verifying' }
    return true
  }

  verified(file: number): void {
    invariant(this.stages[file]?.type === 'verifying', 'a file is verified after its last part')
    this.stages[file] = { type: 'whole' }
    this.underWay -= 1
    this.wholeCount += 1
  }

  /** The file is not what was announced. Returns false when it was fetched often enough. */
  damaged(file: number): boolean {
    invariant(this.stages[file]?.type === 'verifying', 'a file is verified after its last part')
    this.stages[file] = undefined
    this.underWay -= 1
    this.attempts[file]! += 1
    if (this.attempts[file]! >= this.attemptsMax) return false
    this.again.push(file)
    return true
  }

  private fileToAsk(): number | undefined {
    for (const [file, stage] of this.fetching()) {
      if (stage.asked < this.files[file]!.bytes) return file
    }
    if (this.underWay >= this.filesMax) return undefined
    const file = this.again.shift() ?? this.nextUntouched()
    if (file === undefined) return undefined
    this.stages[file] = { type: 'fetching', asked: 0, written: 0, open: new Map() }
    this.underWay += 1
    this.current.add(file)
    return file
  }

  private nextUntouched(): number | undefined {
    while (this.next < this.files.length && this.stages[this.next] !== undefined) this.next += 1
    return this.next < this.files.length ? this.next++ : undefined
  }

  /** Files that may have parts to ask for. */
  private readonly current = new Set<number>()

  private *fetching(): Generator<[number, Extract<Stage, { type: 'fetching' }>]> {
    for (const file of this.current) {
      const stage = this.stages[file]
      if (stage?.type === 'fetching' && stage.asked < this.files[file]!.bytes) yield [file, stage]
      else this.current.delete(file)
    }
  }
}

/** Spreads bytes over time; `nowMs` is of a monotonic clock. */
export class Pacer {
  private readonly bytesPerSecond: number | undefined
  private freeAtMs = Number.NEGATIVE_INFINITY

  constructor(bytesPerSecond: number | undefined) {
    this.bytesPerSecond = bytesPerSecond
  }

  /** How long to wait before these bytes may be asked for; they count as asked for then. */
  take(nowMs: number, bytes: number): number {
    if (this.bytesPerSecond === undefined) return 0
    const startMs = Math.max(nowMs, this.freeAtMs)
    this.freeAtMs = startMs + (bytes * 1000) / this.bytesPerSecond
    return startMs - nowMs
  }
}

/** Smaller parts where the rate is low: no second passes without a byte. */
export function rangeBytesFor(
  bytesPerSecond: number | undefined,
  bounds: { readonly bytes: number; readonly bytesMin: number },
): number {
  if (bytesPerSecond === undefined) return bounds.bytes
  return Math.max(bounds.bytesMin, Math.min(bounds.bytes, Math.floor(bytesPerSecond / 8)))
}

/** A checkpoint that a source keeps, for the decision which go. */
export interface KeptCheckpoint {
  readonly id: string
  readonly slot: string
  readonly inUse: boolean
  /** Since when nobody has read it. */
  readonly idleMs: number
}

/**
 * Checkpoints that go now: of slots that are gone, or not read for too long. Table files that the store itself has
 * replaced meanwhile take up disk space until then.
 */
export function checkpointsToRemove(
  kept: readonly KeptCheckpoint[],
  slots: ReadonlySet<string>,
  idleMsMax: number,
): readonly string[] {
  return kept.filter((one) => !one.inUse && (!slots.has(one.slot) || one.idleMs > idleMsMax)).map(({ id }) => id)
}

/** Room for one more, of a slot that has at most one: which goes for it; undefined if all are in use. */
export function checkpointsToReplace(
  kept: readonly KeptCheckpoint[],
  slot: string,
  countMax: number,
): readonly string[] | undefined {
  const own = kept.filter((one) => one.slot === slot)
  const others = kept.filter((one) => one.slot !== slot)
  const surplus = others.length + 1 - countMax
  if (surplus <= 0) return own.map(({ id }) => id)
  const free = others.filter((one) => !one.inUse).sort((a, b) => b.idleMs - a.idleMs)
  if (free.length < surplus) return undefined
  return [...own, ...free.slice(0, surplus)].map(({ id }) => id)
}
