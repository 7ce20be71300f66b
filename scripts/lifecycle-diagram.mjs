// Writes docs/LIFECYCLE.md from the compiled table. `--check` only compares: exit 1 if the file is out of date.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { lifecycle, lifecycleEvents, lifecycleStates, roleOf } from '../dist/core/lifecycle.js'

export const lifecyclePage = fileURLToPath(new URL('../docs/LIFECYCLE.md', import.meta.url))

/** Events that may come in any state; drawn once, not at every state. */
const anywhere = ['fence', 'failure', 'stop']

function isState(transition) {
  return transition !== 'ignore' && transition !== 'invalid'
}

function diagram() {
  const lines = ['stateDiagram-v2']
  for (const state of lifecycleStates) lines.push(`  state "${state}" as ${id(state)}`)
  lines.push(`  [*] --> ${id('stopped')}`)
  for (const from of lifecycleStates) {
    const byTarget = new Map()
    for (const event of lifecycleEvents) {
      const to = lifecycle[from][event]
      if (!isState(to) || (anywhere.includes(event) && from !== 'fenced' && from !== 'failed')) continue
      byTarget.set(to, [...(byTarget.get(to) ?? []), event])
    }
    for (const [to, events] of byTarget) lines.push(`  ${id(from)} --> ${id(to)}: ${events.join(', ')}`)
  }
  return lines
}

function id(state) {
  return state.replace(/-([a-z])/g, (_match, letter) => letter.toUpperCase())
}

function table() {
  const cell = (transition) => (transition === 'ignore' ? '·' : transition === 'invalid' ? '✗' : `**${transition}**`)
  return [
    `| event | ${lifecycleStates.join(' | ')} |`,
    `|---${'|---'.repeat(lifecycleStates.length)}|`,
    ...lifecycleEvents.map(
      (event) => `| ${event} | ${lifecycleStates.map((state) => cell(lifecycle[state][event])).join(' | ')} |`,
    ),
  ]
}

/** The whole page, as it must lie in docs. */
export function renderLifecycle() {
  const others = lifecycleStates.filter((state) => !anywhere.every((event) => isState(lifecycle[state][event])))
  return [
    '# Lifecycle of a node',
    '',
    'Generated from the table in `src/core/lifecycle.ts` by `node scripts/lifecycle-diagram.mjs`; a test compares the two.',
    'A node has one state for each shard that it hosts.',
    '',
    '```mermaid',
    ...diagram(),
    '```',
    '',
    `Not drawn: from every state but ${others.join(', ')}, the event \`fence\` leads to \`fenced\`, \`failure\` to`,
    '`failed` and `stop` to `stopped`.',
    '',
    '## Role of each state',
    '',
    '| state | role in status, metrics and `/readyz` |',
    '|---|---|',
    ...lifecycleStates.map((state) => `| ${state} | ${roleOf[state]} |`),
    '',
    '## Every event in every state',
    '',
    '· the state stays as it is: the event is late or says nothing new. ✗ cannot happen: a bug of this program, which',
    'stops the shard.',
    '',
    ...table(),
    '',
  ].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = renderLifecycle()
  if (!process.argv.includes('--check')) {
    mkdirSync(new URL('../docs', import.meta.url), { recursive: true })
    writeFileSync(lifecyclePage, page)
  } else if (readFileSync(lifecyclePage, 'utf8') !== page) {
    console.error('docs/LIFECYCLE.md is out of date: run node scripts/lifecycle-diagram.mjs')
    process.exitCode = 1
  }
}
