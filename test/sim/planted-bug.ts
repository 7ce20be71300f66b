/**
 * Bugs that are planted into a copy of the built program, one at a time, to show that the simulator finds them: each
 * takes a rule out of the code. `find` must stand exactly once in the built file: an edit that does not fit any more
 * is an error, never a bug that was not planted.
 */
export interface Edit {
  /** Below dist. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PlantedBug {
  readonly name: string
  /** Of the safety rules and invariants. */
  readonly rule: string
  readonly edits: readonly Edit[]
  /** What the world does meanwhile: the faults in which the rule matters. */
  readonly faults: string
  /** Found within so many seeds. */
  readonly seeds: number
  /** Default: what each seed says. */
  readonly coordinator?: 'builtin' | 'static'
  /** A test file that must fail instead, where whole clusters show the bug too seldom: below build/test, no ending. */
  readonly test?: string
}

export function edit(file: string, find: string, replace: string): Edit {
  return { file, find, replace }
}

const seedsDefault = 200

export function bug(
  name: string,
  rule: string,
  faults: string,
  edits: readonly Edit[],
  more: Partial<PlantedBug> = {},
): PlantedBug {
  return { name, rule, faults, edits, seeds: seedsDefault, ...more }
}
