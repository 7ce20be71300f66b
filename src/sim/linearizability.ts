/**
 * Is there an order of all operations on a key, in which each takes effect at one moment between its call and its
 * return, and each read returns what was written last? Searched with the algorithm of J. M. Wing and C. Gong, "Testing
 * and Verifying Concurrent Objects" (1993), with the memory of configurations that G. Lowe added in "Testing for
 * Linearizability" (2017). Keys are independent registers, and linearizability is local (M. Herlihy and J. M. Wing,
 * 1990): each key is searched alone.
 *
 * Three reductions, each of which leaves the answer as it is:
 * - A read that may come next and fits the present value does come next: it changes nothing, and nothing has to come
 *   before it that has not come yet.
 * - A write of unknown outcome takes effect only where a read that may come next wants its value: wherever else it took
 *   effect, nobody would have seen it.
 * - So one whose value nobody has read is left out.
 */
import { invariant } from '../core/invariant.js'
import { describeHistory, type RegisterOperation } from './register-history.js'

export interface LinearizabilityOptions {
  /** Configurations that are remembered per key at most; beyond it the key is undecided. */
  readonly configurationsMax?: number
  /** What a key holds before its first operation; default: nothing. */
  readonly initial?: (key: string) => string | undefined
}

export interface LinearizabilityViolation {
  readonly key: string
  /** The operations that contradict each other: as few of the key's as were found to be enough. */
  readonly history: readonly RegisterOperation[]
  /** For people. */
  readonly text: string
}

export interface LinearizabilityResult {
  /** `undecided`: no contradiction was found, and at least one key needed more than the limit. */
  readonly verdict: 'linearizable' | 'violated' | 'undecided'
  readonly keys: number
  readonly operations: number
  readonly violatedKeys: readonly string[]
  readonly undecidedKeys: readonly string[]
  /** Of the violated keys the one with the shortest contradiction. */
  readonly violation: LinearizabilityViolation | undefined
}

/** About 100 bytes each. */
const configurationsDefault = 500_000
/** Searches spent on making a contradiction short. */
const shrinkSearchesMax = 2_000
const shrinkKeysMax = 5

export function checkLinearizability(
  operations: Iterable<RegisterOperation>,
  options: LinearizabilityOptions = {},
): LinearizabilityResult {
  const byKey = new Map<string, RegisterOperation[]>()
  let count = 0
  for (const operation of operations) {
    count += 1
    const list = byKey.get(operation.key)
    if (list === undefined) byKey.set(operation.key, [operation])
    else list.push(operation)
  }
  const limit = options.configurationsMax ?? configurationsDefault
  const initialOf = (key: string) => options.initial?.(key)
  const violatedKeys: string[] = []
  const undecidedKeys: string[] = []
  for (const [key, history] of byKey) {
    const verdict = searchRegister(history, initialOf(key), limit)
    if (verdict === 'violated') violatedKeys.push(key)
    else if (verdict === 'undecided') undecidedKeys.push(key)
  }
  violatedKeys.sort((a, b) => byKey.get(a)!.length - byKey.get(b)!.length)
  const shrunk = violatedKeys
    .slice(0, shrinkKeysMax)
    .map((key) => ({ key, history: shrink(byKey.get(key)!, initialOf(key), limit) }))
    .sort((a, b) => a.history.length - b.history.length)[0]
  return {
    verdict: violatedKeys.length > 0 ? 'violated' : undecidedKeys.length > 0 ? 'undecided' : 'linearizable',
    keys: byKey.size,
    operations: count,
    violatedKeys,
    undecidedKeys,
    violation: shrunk && { ...shrunk, text: describeViolation(shrunk.key, shrunk.history, initialOf(shrunk.key)) },
  }
}

function describeViolation(key: string, history: readonly RegisterOperation[], initial: string | undefined): string {
  return `key ${key}, which held ${initial ?? 'nothing'} at the beginning; no order of these explains what was read:\n${describeHistory(history)}`
}

/** Values as small integers; 0: nothing is there. */
type Value = number
const nothing: Value = 0

interface Step {
  readonly isRead: boolean
  readonly value: Value
  readonly calledMs: number
  readonly returnedMs: number
}

/** Operations as the search takes them: `known` have happened; those of `unknown` may have. */
interface Register {
  readonly known: readonly Step[]
  readonly unknown: readonly Step[]
  readonly initial: Value
}

function createRegister(history: readonly RegisterOperation[], initial: string | undefined): Register | undefined {
  const values = new Map<string | undefined, Value>([[undefined, nothing]])
  const numberOf = (text: string | undefined): Value => {
    const known = values.get(text)
    if (known !== undefined) return known
    values.set(text, values.size)
    return values.size - 1
  }
  const known: Step[] = []
  const open: Step[] = []
  const written = new Set<Value>([numberOf(initial), nothing])
  const read = new Set<Value>()
  for (const { kind, value: text, calledMs, returnedMs, outcome } of history) {
    if (outcome === 'none' || (kind === 'get' && outcome === 'unknown')) continue
    invariant(outcome === 'unknown' || returnedMs >= calledMs, 'an operation returns after it was called')
    const value = kind === 'del' ? nothing : numberOf(text)
    const step = { isRead: kind === 'get', value, calledMs, returnedMs }
    if (kind === 'get') read.add(value)
    else {
      invariant(kind === 'del' || !written.has(value), 'no two puts write the same value')
      written.add(value)
    }
    if (outcome === 'ok') known.push(step)
    else open.push({ ...step, returnedMs: Number.POSITIVE_INFINITY })
  }
  // Read although nobody may have written it: no search is needed.
  for (const value of read) if (!written.has(value)) return undefined
  known.sort((a, b) => a.calledMs - b.calledMs)
  return { known, unknown: open.filter((step) => read.has(step.value)), initial: numberOf(initial) }
}

/** Where the search stands: everything known before `first` is done, and of the later ones those in `beyond`. */
interface Configuration {
  readonly first: number
  /** Ascending. */
  readonly beyond: readonly number[]
  /** Operations of unknown outcome that took effect, ascending. */
  readonly taken: readonly number[]
  readonly value: Value
}

function searchRegister(
  history: readonly RegisterOperation[],
  initial: string | undefined,
  configurationsMax: number,
): 'linearizable' | 'violated' | 'undecided' {
  const register = createRegister(history, initial)
  if (register === undefined) return 'violated'
  const seen = new Set<string>()
  const stack: Configuration[] = [{ first: 0, beyond: [], taken: [], value: register.initial }]
  for (;;) {
    const next = stack.pop()
    if (next === undefined) return 'violated'
    const { configuration, candidates } = takeReads(register, next)
    if (configuration.first === register.known.length) return 'linearizable'
    const { first, beyond, taken, value } = configuration
    const name = `${first}|${beyond.join()}|${taken.join()}|${value}`
    if (seen.has(name)) continue
    if (seen.size === configurationsMax) return 'undecided'
    seen.add(name)
    push(register, configuration, candidates, stack)
  }
}

/** Known operations that may come next: all that were called before the first of those that are left returned. */
function candidatesOf(register: Register, { first, beyond }: Configuration): number[] {
  const { known } = register
  const candidates: number[] = []
  let firstReturnMs = Number.POSITIVE_INFINITY
  let at = 0
  for (let index = first; index < known.length; index++) {
    while (at < beyond.length && beyond[at]! < index) at += 1
    if (beyond[at] === index) continue
    const { calledMs, returnedMs } = known[index]!
    if (calledMs > firstReturnMs) break
    candidates.push(index)
    firstReturnMs = Math.min(firstReturnMs, returnedMs)
  }
  return candidates
}

function takeReads(
  register: Register,
  start: Configuration,
): { readonly configuration: Configuration; readonly candidates: readonly number[] } {
  let configuration = start
  for (;;) {
    const candidates = candidatesOf(register, configuration)
    const fits = candidates.filter((index) => {
      const { isRead, value } = register.known[index]!
      return isRead && value === configuration.value
    })
    if (fits.length === 0) return { configuration, candidates }
    for (const index of fits) configuration = withKnown(register, configuration, index, configuration.value)
  }
}

function push(
  register: Register,
  configuration: Configuration,
  candidates: readonly number[],
  stack: Configuration[],
): void {
  const { known, unknown } = register
  const wanted = new Set<Value>()
  let firstReturnMs = Number.POSITIVE_INFINITY
  for (const index of candidates) {
    const { isRead, value, returnedMs } = known[index]!
    firstReturnMs = Math.min(firstReturnMs, returnedMs)
    if (isRead) wanted.add(value)
  }
  for (const [index, { value, calledMs }] of unknown.entries()) {
    if (!wanted.has(value) || calledMs > firstReturnMs || configuration.taken.includes(index)) continue
    stack.push({ ...configuration, taken: insert(configuration.taken, index), value })
  }
  // Pushed last, tried first: the write that returned first, as it mostly was.
  const writes = candidates.filter((index) => !known[index]!.isRead)
  writes.sort((a, b) => known[b]!.returnedMs - known[a]!.returnedMs)
  for (const index of writes) stack.push(withKnown(register, configuration, index, known[index]!.value))
}

function withKnown(register: Register, configuration: Configuration, index: number, value: Value): Configuration {
  const { taken } = configuration
  let { first } = configuration
  if (index !== first) return { first, beyond: insert(configuration.beyond, index), taken, value }
  let skipped = 0
  first += 1
  while (first < register.known.length && configuration.beyond[skipped] === first) {
    first += 1
    skipped += 1
  }
  return { first, beyond: configuration.beyond.slice(skipped), taken, value }
}

function insert(list: readonly number[], item: number): readonly number[] {
  let at = list.length
  while (at > 0 && list[at - 1]! > item) at -= 1
  return [...list.slice(0, at), item, ...list.slice(at)]
}

/**
 * Fewer operations that still contradict each other. Only what leaves a linearizable history linearizable is left out:
 * what came after a moment, reads, and writes that no read that is left returned. So a contradiction that remains is
 * one of the whole history.
 */
function shrink(
  history: readonly RegisterOperation[],
  initial: string | undefined,
  configurationsMax: number,
): readonly RegisterOperation[] {
  let searches = 0
  const isViolated = (operations: readonly RegisterOperation[]) => {
    searches += 1
    return searchRegister(operations, initial, configurationsMax) === 'violated'
  }
  const happened = history.filter(({ kind, outcome }) => outcome === 'ok' || (outcome === 'unknown' && kind !== 'get'))
  let kept = shortestPrefix(happened, isViolated)
  // What a read returned that nobody wrote is kept with the failed write that it came from.
  for (let size = kept.length >> 1; size >= 1; size >>= 1) {
    for (let at = kept.length; at > 0 && searches < shrinkSearchesMax; at -= size) {
      const start = Math.max(0, at - size)
      const rest = kept.filter((_, index) => index < start || index >= at)
      if (writesWhatIsRead(kept, rest) && isViolated(rest)) kept = rest
    }
  }
  const read = new Set(kept.flatMap(({ kind, value }) => (kind === 'get' ? [value] : [])))
  const failed = history.filter(({ kind, outcome, value }) => kind === 'put' && outcome === 'none' && read.has(value))
  return [...kept, ...failed].sort((a, b) => a.calledMs - b.calledMs)
}

/** No read of `rest` lost the write that it returned; of deletions, all are kept while one absence is read. */
function writesWhatIsRead(kept: readonly RegisterOperation[], rest: readonly RegisterOperation[]): boolean {
  const read = new Set(rest.flatMap(({ kind, value }) => (kind === 'get' ? [value] : [])))
  const left = new Set(rest)
  return kept.every((operation) => {
    if (left.has(operation) || operation.kind === 'get') return true
    return !read.has(operation.kind === 'del' ? undefined : operation.value)
  })
}

/** Until the first return that cannot be explained: what returns later has an open end, or is not there at all. */
function shortestPrefix(
  history: readonly RegisterOperation[],
  isViolated: (operations: readonly RegisterOperation[]) => boolean,
): readonly RegisterOperation[] {
  const returns = history
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ returnedMs }) => returnedMs)
    .sort((a, b) => a - b)
  const until = (endMs: number): RegisterOperation[] =>
    history.flatMap((operation): RegisterOperation[] => {
      if (operation.calledMs > endMs) return []
      if (operation.outcome === 'unknown' || operation.returnedMs <= endMs) return [operation]
      return operation.kind === 'get' ? [] : [{ ...operation, outcome: 'unknown' }]
    })
  let low = 0
  let high = returns.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (isViolated(until(returns[middle]!))) high = middle
    else low = middle + 1
  }
  return until(returns[high] ?? 0)
}
