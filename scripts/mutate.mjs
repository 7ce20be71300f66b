// Mutation testing of src/core and src/journal, in batches, those on which the safety rules rest first. Each batch leaves
// a report in build/mutation; what is there already is not run again. Prints the scores of all reports at the end.
//   npm run mutate                    everything that has no report yet
//   npm run mutate -- in-sync lease   only these files, anew
//   npm run mutate -- --again         what survived, once more, with the tests as they are now (of these files, if named)
//   npm run mutate -- --table         only the scores of the reports that are there
//   npm run mutate -- --survivors     the same, and every mutant that no test noticed
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const reports = `${root}/build/mutation`

const batches = [
  ['core', 'append', 'position', 'recovery'],
  ['core', 'in-sync'],
  ['core', 'lease', 'record', 'laggards'],
  ['core', 'takeover'],
  ['core', 'promotion', 'start'],
  ['core', 'history', 'bootstrap'],
  ['core', 'requests'],
  ['core', 'rewind', 'divergent'],
  ['core', 'handshake', 'retention', 'voter-records', 'registrations'],
  ['journal', 'recovery'],
  ['journal', 'segment-scan', 'truncation'],
  ['journal', 'journal-writer'],
  ['journal', 'record-reader', 'segment-format'],
  ['journal', 'file-journal', 'history'],
  ['journal', 'segment', 'segment-maker'],
  ['journal', 'side-file', 'tail-cache', 'journal-factory'],
  ['core', 'verify'],
  ['core', 'lifecycle', 'timings', 'failure', 'address', 'backoff', 'entry', 'invariant'],
  ['core', 'failover-status', 'told-failover', 'replication-health'],
  ['core', 'checkpoint-transfer'],
  ['journal', 'inspect'],
]

const wanted = process.argv.slice(2)
const names = wanted.filter((one) => !one.startsWith('--'))
mkdirSync(reports, { recursive: true })
const failed = []

const survived = ({ status }) => status === 'Survived' || status === 'NoCoverage'
/** Words for people have a space between them; a string without one is a value like any other. */
const isText = ({ mutatorName, original }) => mutatorName === 'StringLiteral' && /\s/.test(original)
const keyOf = ({ mutatorName, replacement, location: { start, end } }) =>
  `${start.line}:${start.column}-${end.line}:${end.column} ${mutatorName} ${replacement}`

function originalOf(lines, { location: { start, end } }) {
  const text = lines.slice(start.line - 1, end.line)
  text.push(text.pop().slice(0, end.column - 1))
  text[0] = text[0].slice(start.column - 1)
  return text.join('\n')
}

/** Of each file every mutant: what one run has found stays found. Those of another text of the file are gone. */
function readReports() {
  const files = new Map()
  const paths = readdirSync(reports)
    .filter((name) => name.endsWith('.json'))
    .map((name) => `${reports}/${name}`)
  for (const path of paths.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)) {
    for (const [file, { mutants, source }] of Object.entries(JSON.parse(readFileSync(path, 'utf8')).files)) {
      const lines = source.split('\n')
      const before = files.get(file)
      const found = before?.source === source ? before.mutants : new Map()
      for (const mutant of mutants) {
        if (mutant.status === 'Ignored' || mutant.status.endsWith('Error')) continue
        const known = found.get(keyOf(mutant))
        if (known === undefined || survived(known))
          found.set(keyOf(mutant), { ...mutant, original: originalOf(lines, mutant) })
      }
      files.set(file, { source, mutants: found })
    }
  }
  return files
}

function run(folder, name, list) {
  console.log(`\n=== ${name}, ${new Date().toISOString()}`)
  const stryker = `${root}/node_modules/@stryker-mutator/core/bin/stryker.js`
  const { status } = spawnSync(process.execPath, [stryker, 'run', '-m', list.join(',')], {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      UNDERSTUDY_MUTATE: folder,
      UNDERSTUDY_MUTATE_NAME: name,
      UNDERSTUDY_MUTATE_FILES: [...new Set(list.map((file) => /([^/]+)\.ts/.exec(file)[1]))].join(','),
    },
  })
  if (status !== 0) failed.push(name)
}

/** Where a file has changed since, all of it: its places have moved. */
function runAgain() {
  const lists = new Map()
  for (const [file, { mutants, source }] of readReports()) {
    const [, folder, name] = /^src\/([^/]+)\/(.+)\.ts$/.exec(file)
    if (names.length > 0 && !names.includes(name) && !names.includes(`${folder}/${name}`)) continue
    const list = lists.get(folder) ?? []
    lists.set(folder, list)
    if (readFileSync(`${root}/${file}`, 'utf8') !== source) {
      list.push(file)
      continue
    }
    const places = [...mutants.values()]
      .filter((mutant) => survived(mutant) && !isText(mutant))
      .map(({ location: { start, end } }) => `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`)
    list.push(...new Set(places))
  }
  // A report of its own: what an earlier one has found stays found.
  for (const [folder, list] of lists) if (list.length > 0) run(folder, `again-${folder}-${Date.now()}`, list)
}

function runBatches() {
  for (const [folder, ...files] of batches) {
    const chosen = files.filter(
      (file) => wanted.length === 0 || wanted.includes(file) || wanted.includes(`${folder}/${file}`),
    )
    if (chosen.length === 0) continue
    const name = `${folder}-${chosen.join('-')}`
    if (wanted.length === 0 && existsSync(`${reports}/${name}.json`)) continue
    run(
      folder,
      name,
      chosen.map((file) => `src/${folder}/${file}.ts`),
    )
  }
}

if (wanted.includes('--again')) runAgain()
else if (!wanted.includes('--table') && !wanted.includes('--survivors')) runBatches()

let all = 0
let caught = 0
for (const [file, { mutants, source }] of [...readReports()].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const left = [...mutants.values()].filter(survived)
  const texts = left.filter(isText).length
  all += mutants.size
  caught += mutants.size - left.length
  const score = ((100 * (mutants.size - left.length)) / Math.max(1, mutants.size)).toFixed(1)
  console.log(
    `${file.padEnd(32)} ${String(mutants.size).padStart(5)} mutants ${String(left.length).padStart(4)} survived (${texts} texts) ${score.padStart(6)} %`,
  )
  if (!wanted.includes('--survivors')) continue
  const lines = source.split('\n')
  for (const mutant of left.filter((one) => !isText(one))) {
    const { location, mutatorName, original, replacement, status } = mutant
    const { start } = location
    console.log(
      `  ${start.line}:${start.column} ${mutatorName}${status === 'NoCoverage' ? ' (no test comes here)' : ''}`,
    )
    console.log(`    ${lines[start.line - 1].trim()}`)
    console.log(
      `    ${original.replaceAll(/\s+/g, ' ').slice(0, 160)}  =>  ${replacement.replaceAll(/\s+/g, ' ').slice(0, 160)}`,
    )
  }
}
console.log(`all: ${all} mutants, ${caught} found, ${((100 * caught) / Math.max(1, all)).toFixed(1)} %`)
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`)
  process.exit(1)
}
