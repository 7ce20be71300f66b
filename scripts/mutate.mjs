// Mutation testing of src/core and src/journal, in batches, those on which the safety rules rest first. Each batch leaves
// a report in build/mutation; what is there already is not run again. Prints the scores of all reports at the end.
//   npm run mutate                    everything that has no report yet
//   npm run mutate -- in-sync lease   only these files, anew
//   npm run mutate -- --table         only the scores of the reports that are there
//   npm run mutate -- --survivors     the same, and every mutant that no test noticed
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
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
  ['core', 'lifecycle', 'timings', 'failure', 'address', 'backoff', 'entry', 'invariant'],
  ['core', 'failover-status'],
  ['journal', 'inspect'],
]

const wanted = process.argv.slice(2)
mkdirSync(reports, { recursive: true })
const failed = []
if (!wanted.includes('--table') && !wanted.includes('--survivors')) {
  for (const [folder, ...files] of batches) {
    const chosen = files.filter(
      (file) => wanted.length === 0 || wanted.includes(file) || wanted.includes(`${folder}/${file}`),
    )
    if (chosen.length === 0) continue
    const name = `${folder}-${chosen.join('-')}`
    if (wanted.length === 0 && existsSync(`${reports}/${name}.json`)) continue
    console.log(`\n=== ${name}, ${new Date().toISOString()}`)
    const list = chosen.map((file) => `src/${folder}/${file}.ts`).join(',')
    const run = spawnSync(
      process.execPath,
      [`${root}/node_modules/@stryker-mutator/core/bin/stryker.js`, 'run', '-m', list],
      {
        cwd: root,
        stdio: 'inherit',
        env: { ...process.env, UNDERSTUDY_MUTATE: folder, UNDERSTUDY_MUTATE_NAME: name },
      },
    )
    if (run.status !== 0) failed.push(name)
  }
}

/** The newest result of each file. */
const files = new Map()
for (const name of readdirSync(reports).filter((one) => one.endsWith('.json'))) {
  const path = `${reports}/${name}`
  for (const [file, { mutants, source }] of Object.entries(JSON.parse(readFileSync(path, 'utf8')).files)) {
    files.set(file, { mutants, source })
  }
}
const survived = ({ status }) => status === 'Survived' || status === 'NoCoverage'
let all = 0
let caught = 0
for (const [file, { mutants, source }] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const valid = mutants.filter(({ status }) => status !== 'Ignored' && !status.endsWith('Error'))
  const left = valid.filter(survived)
  all += valid.length
  caught += valid.length - left.length
  const score = ((100 * (valid.length - left.length)) / Math.max(1, valid.length)).toFixed(1)
  console.log(
    `${file.padEnd(34)} ${String(valid.length).padStart(5)} mutants ${String(left.length).padStart(4)} survived ${score.padStart(6)} %`,
  )
  if (!wanted.includes('--survivors')) continue
  const lines = source.split('\n')
  for (const { location, mutatorName, replacement, status } of left) {
    const { start, end } = location
    console.log(
      `  ${start.line}:${start.column} ${mutatorName}${status === 'NoCoverage' ? ' (no test comes here)' : ''}`,
    )
    console.log(`    - ${lines[start.line - 1].trim()}`)
    const original = start.line === end.line ? lines[start.line - 1].slice(start.column - 1, end.column - 1) : '…'
    console.log(`    ${original.slice(0, 160)}  =>  ${replacement.replaceAll(/\s+/g, ' ').slice(0, 160)}`)
  }
}
console.log(`all: ${all} mutants, ${caught} found, ${((100 * caught) / Math.max(1, all)).toFixed(1)} %`)
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`)
  process.exit(1)
}
