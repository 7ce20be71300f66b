/** `npm run sim:planted`: plants each bug into a copy of the built program and lets the simulator look for it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { PlantedBug } from './planted-bug.js'
import { plantedBugs } from './planted-bugs.js'

const saidMax = 160
/** The slowest files take half a minute, on a machine that does much else several times that. */
const testMsMax = 300_000

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A copy of the program with these edits; throws if one does not fit. */
export function plant(bug: PlantedBug): string {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-planted-'))
  copyBuilt('dist', directory)
  mkdirSync(join(directory, 'build'))
  if (bug.test !== undefined) copyBuilt('build/test', directory)
  // A test of the engine rocksdb skips itself where its addon is not built.
  if (existsSync(join(root, 'native'))) symlinkSync(join(root, 'native'), join(directory, 'native'))
  writeFileSync(join(directory, 'package.json'), readFileSync(join(root, 'package.json')))
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  for (const [file, text] of plantedTexts(bug)) writeFileSync(join(directory, 'dist', file), text)
  return directory
}

function copyBuilt(what: string, directory: string): void {
  cpSync(join(root, what), join(directory, what), {
    recursive: true,
    filter: (path) => !path.endsWith('.map') && !path.endsWith('.d.ts'),
  })
}

/** The files of dist that a bug changes, as they are with it; throws if an edit does not fit. */
export function plantedTexts(bug: PlantedBug): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const { file, find, replace } of bug.edits) {
    const text = texts.get(file) ?? readFileSync(join(root, 'dist', file), 'utf8')
    const count = text.split(find).length - 1
    if (count !== 1) throw new Error(`${bug.name}: ${JSON.stringify(find)} stands ${count} times in ${file}`)
    texts.set(
      file,
      text.replace(find, () => replace),
    )
  }
  return texts
}

export interface Search {
  readonly bug: PlantedBug
  /** How many seeds it took; undefined: it has survived. */
  readonly seedsTaken: number | undefined
  /** The seed that found it and what was said, or the end of the report. */
  readonly said: string
  readonly tookMs: number
}

export function search(bug: PlantedBug, from: number, workers: number): Promise<Search> {
  const directory = plant(bug)
  const begunMs = performance.now()
  const child = spawn(
    process.execPath,
    [
      join(directory, 'dist', 'sim', 'main.js'),
      ...['--seeds', String(bug.seeds), '--from', String(from), '--workers', String(workers), '--until-failure'],
      ...['--faults', bug.faults],
      ...(bug.coordinator === undefined ? [] : ['--coordinator', bug.coordinator]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  return outputOf(child)
    .then(({ said }) => {
      const line = /^seed (\d+) failed: (.*)/m.exec(said)
      return {
        bug,
        seedsTaken: line === null ? undefined : Number(line[1]) - from + 1,
        said: line?.[2] ?? said.trim().slice(-400),
        tookMs: performance.now() - begunMs,
      }
    })
    .finally(() => rmSync(directory, { recursive: true, force: true }))
}

/** Runs the unit test of a bug with the bug; the names of the tests that fail, none if it survives. */
export async function failingTests(bug: PlantedBug & { readonly test: string }): Promise<readonly string[]> {
  const directory = plant(bug)
  try {
    const child = spawn(
      process.execPath,
      // A test that fails may leave open what it would have closed.
      ['--test-reporter=tap', '--test-force-exit', join(directory, 'build', 'test', `${bug.test}.test.js`)],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: testMsMax,
      },
    )
    const { said, code } = await outputOf(child)
    const failing = [...said.matchAll(/^ *not ok \d+ - (.*)/gm)].map(([, name]) => name!)
    // A file that cannot be loaded, or hangs, shows nothing of the rule.
    return code === 1 ? failing : []
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function outputOf(child: ChildProcess): Promise<{ readonly said: string; readonly code: number | null }> {
  let said = ''
  const hear = (text: Buffer) => {
    said += text.toString()
  }
  child.stdout?.on('data', hear)
  child.stderr?.on('data', hear)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ said, code }))
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      from: { type: 'string', default: '1' },
      only: { type: 'string' },
      'starting-with': { type: 'string' },
      workers: { type: 'string', default: String(availableParallelism()) },
      check: { type: 'boolean', default: false },
      /** Search with seeds also where a unit test shows the bug. */
      seeds: { type: 'boolean', default: false },
      /** Instead of the bound of each bug. */
      'at-most': { type: 'string' },
    },
  })
  const { only } = values
  const from = plantedBugs.findIndex(({ name }) => name === values['starting-with'])
  const chosen = plantedBugs.slice(Math.max(0, from)).filter(({ name }) => only === undefined || name.includes(only))
  if (values.check) {
    for (const bug of chosen) plantedTexts(bug)
    console.log(`${chosen.length} bugs can be planted`)
    return
  }
  const waiting = [...chosen]
  let survived = 0
  console.log('| rule | planted bug | found by seed, of at most | first said |\n| --- | --- | --- | --- |')
  const work = async () => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      const { test } = bug
      if (test !== undefined && !values.seeds) {
        const failing = await failingTests({ ...bug, test })
        if (failing.length === 0) survived += 1
        console.log(
          `| ${bug.rule} | ${bug.name} | ${failing.length === 0 ? 'SURVIVED' : 'fails'} ${test} | ${inOneCell(failing[0] ?? '')} |`,
        )
        continue
      }
      const seeds = Number(values['at-most'] ?? bug.seeds)
      const { seedsTaken, said } = await search({ ...bug, seeds }, Number(values.from), 1)
      if (seedsTaken === undefined) survived += 1
      const found = seedsTaken === undefined ? 'SURVIVED' : `${seedsTaken}`
      console.log(`| ${bug.rule} | ${bug.name} | ${found} of ${seeds} | ${inOneCell(said)} |`)
    }
  }
  await Promise.all(Array.from({ length: Number(values.workers) }, work))
  console.log(`\n${chosen.length} planted, ${survived} survived`)
  process.exitCode = survived === 0 ? 0 : 1
}

function inOneCell(said: string): string {
  return said.replaceAll('\n', ' ').replaceAll('|', '/').slice(0, saidMax)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
