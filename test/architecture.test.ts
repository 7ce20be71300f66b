/** The dependency rule as data, checked against every import statement of the sources. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../src', import.meta.url))

interface Rule {
  /** Folders (and files directly in src) that it may import besides itself. */
  readonly folders: readonly string[]
  /** Node's modules: all, none, or in these files alone. */
  readonly node: 'all' | 'none' | readonly string[]
  readonly packages: 'all' | 'none'
}

const low = ['core', 'codec', 'ports', 'errors']
const adapter: Rule = { folders: low, node: 'all', packages: 'all' }
/** Helpers over ports that the runtime and adapters share. */
const shared: Rule = { folders: low, node: 'none', packages: 'none' }
const anything: Rule = { folders: ['*'], node: 'all', packages: 'all' }

const rules: Readonly<Record<string, Rule>> = {
  core: { folders: [], node: 'none', packages: 'none' },
  errors: { folders: ['core'], node: 'none', packages: 'none' },
  codec: { folders: ['core', 'errors'], node: ['digest'], packages: 'none' },
  ports: { folders: ['core'], node: 'none', packages: 'none' },
  storage: shared,
  link: shared,
  journal: adapter,
  engine: adapter,
  transport: adapter,
  coordinator: { ...adapter, folders: [...low, 'storage', 'link'] },
  platform: adapter,
  'object-store': adapter,
  runtime: { folders: [...low, 'storage', 'link'], node: 'none', packages: 'none' },
  database: { folders: [...low, 'runtime'], node: 'all', packages: 'all' },
  // Files of tokens and certificates; the rules for all who let somebody in.
  access: adapter,
  config: { folders: [...low, 'access'], node: 'all', packages: 'all' },
  server: { folders: [...low, 'runtime', 'config', 'access', 'version'], node: 'all', packages: 'all' },
  version: { folders: [], node: 'all', packages: 'none' },
  // Where adapters are chosen, and simulated ones made.
  cli: anything,
  sim: anything,
  index: anything,
  open: anything,
  'start-node': anything,
  'node-parts': anything,
  testing: anything,
}

/** What the core and the parts that a simulation drives may not reach for: time and chance come in through ports. */
const ambient =
  /\b(?:Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|process\.)/
const driven = ['core', 'codec', 'ports', 'storage', 'link', 'runtime', 'journal']

interface Source {
  /** Path below src with slashes, without its ending. */
  readonly name: string
  readonly folder: string
  readonly code: string
  readonly imports: readonly string[]
}

/** Without comments, so that prose about imports is not taken for one. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}

function importsOf(code: string): string[] {
  const found = code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)
  return [...found].map((match) => match[1] ?? '')
}

/** Without imports that are gone when the program runs: two types may know each other. */
function withoutTypeImports(code: string): string {
  return code.replace(/^(?:import|export) type [^;]*?from '[^']+'/gm, '')
}

function folderOf(name: string): string {
  return name.split('/', 1)[0] ?? ''
}

const sources: readonly Source[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const code = codeOf(readFileSync(join(root, path), 'utf8'))
    const name = path.split(sep).join('/').replace(/\.ts$/, '')
    return { name, folder: folderOf(name), code, imports: importsOf(code) }
  })

/** The source that a relative import names. */
function target(source: Source, specifier: string): string {
  return normalize(join(dirname(source.name), specifier))
    .split(sep)
    .join('/')
    .replace(/\.js$/, '')
}

function violationsOf(source: Source): string[] {
  const rule = rules[source.folder]
  if (rule === undefined) return [`${source.name}: ${source.folder} has no rule`]
  const violations: string[] = []
  for (const specifier of source.imports) {
    if (specifier.startsWith('.')) {
      const folder = folderOf(target(source, specifier))
      const allowed = folder === source.folder || rule.folders.includes(folder) || rule.folders.includes('*')
      if (!allowed) violations.push(`${source.name} imports ${folder}`)
    } else if (specifier.startsWith('node:')) {
      const file = source.name.slice(source.folder.length + 1)
      const allowed = rule.node === 'all' || (rule.node !== 'none' && rule.node.includes(file))
      if (!allowed) violations.push(`${source.name} imports ${specifier}`)
    } else if (rule.packages === 'none') violations.push(`${source.name} imports package ${specifier}`)
  }
  return violations
}

/** What of Node a simulation may use: it computes, and waits for nothing. */
const pureModules = ['node:path', 'node:crypto', 'node:zlib', 'node:util', 'node:buffer']
/** In a simulation `process` is mostly one of the simulated. */
const ambientInSimulation =
  /\b(?:Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|process\.(?:env|argv|hrtime|nextTick|cwd|exit|on|off|std\w+|pid|uptime|cpuUsage|memoryUsage)\b)/
/** Memory only. */
const purePackages = ['sorted-btree']
/** The engine room: turns of the real event loop between events, and promises that nobody took. */
const realByDesign: Readonly<Record<string, RegExp>> = {
  'sim/virtual-time': /\bsetImmediate|process\.nextTick/g,
  'sim/simulation': /\bprocess\.(?:on|off)\b/g,
  // The clock of a network that is given none; `Links` gives one.
  'transport/in-memory': /performance\.now|\bsetTimeout|\bsetImmediate/g,
}

/** All files that are loaded with `start`. */
function reachedFrom(start: string, byName: ReadonlyMap<string, Source>): ReadonlySet<string> {
  const reached = new Set([start])
  for (const name of reached) {
    const source = byName.get(name)
    if (source === undefined) continue
    for (const specifier of importsOf(withoutTypeImports(source.code))) {
      if (specifier.startsWith('.')) reached.add(target(source, specifier))
    }
  }
  return reached
}

/** Real time, chance, input and output that a file could reach for. */
function realIn(source: Source): string[] {
  const found = importsOf(withoutTypeImports(source.code))
    .filter((specifier) => !specifier.startsWith('.'))
    .filter((specifier) => !pureModules.includes(specifier) && !purePackages.includes(specifier))
    .map((specifier) => `${source.name} imports ${specifier}`)
  const allowed = realByDesign[source.name]
  const code = allowed === undefined ? source.code : source.code.replace(allowed, '')
  const ambientUse = ambientInSimulation.exec(code)
  if (ambientUse !== null) found.push(`${source.name} uses ${ambientUse[0]}`)
  return found
}

function sample(name: string, code: string): Source {
  return { name, folder: folderOf(name), code, imports: importsOf(codeOf(code)) }
}

describe('architecture', () => {
  test('every folder imports only what its rule allows', () => {
    assert.ok(sources.length > 30, 'the sources were found')
    assert.deepEqual(sources.flatMap(violationsOf), [])
  })

  test('the check finds what it is there for', () => {
    for (const [name, code] of [
      ['core/x', "import { open } from 'node:fs'"],
      ['core/x', "import type { Clock } from '../ports/clock.js'"],
      ['core/x', "import { UnderstudyError } from '../errors.js'"],
      ['core/x', "export * from 'zod'"],
      ['codec/block', "import { hash } from 'node:crypto'"],
      ['codec/x', "import type { Frame } from '../ports/transport.js'"],
      ['ports/x', "import type { Block } from '../codec/block.js'"],
      ['journal/x', "const x = await import('../platform/clock.js')"],
      ['engine/kit/x', "import { y } from '../../journal/y.js'"],
      ['runtime/x', "import { y } from '../journal/y.js'"],
      ['storage/x', "import { y } from '../runtime/y.js'"],
      ['link/x', "import { y } from '../storage/y.js'"],
      ['transport/x', "import { y } from '../link/y.js'"],
      ['runtime/x', "import 'node:fs'"],
      ['server/x', "import { y } from '../transport/y.js'"],
      ['errors', "import { y } from './codec/y.js'"],
    ] as const) {
      assert.equal(violationsOf(sample(name, code)).length, 1, `${name}: ${code}`)
    }
    assert.deepEqual(violationsOf(sample('nowhere/x', '')), ['nowhere/x: nowhere has no rule'])
    assert.deepEqual(violationsOf(sample('codec/digest', "import { hash } from 'node:crypto'")), [])
    assert.deepEqual(violationsOf(sample('engine/kit/x', "import { y } from '../../ports/y.js'")), [])
    assert.deepEqual(violationsOf(sample('core/x', "// import { y } from 'node:fs'")), [])
  })

  test('no import cycles', () => {
    const edges = new Map(
      sources.map((source) => [
        source.name,
        importsOf(withoutTypeImports(source.code))
          .filter((specifier) => specifier.startsWith('.'))
          .map((specifier) => target(source, specifier)),
      ]),
    )
    const done = new Set<string>()
    const path: string[] = []
    const visit = (name: string) => {
      const at = path.indexOf(name)
      assert.equal(at, -1, `cycle: ${[...path.slice(at), name].join(' -> ')}`)
      if (done.has(name)) return
      assert.ok(edges.has(name), `${path.at(-1)} imports ${name}, which does not exist`)
      path.push(name)
      for (const next of edges.get(name) ?? []) visit(next)
      path.pop()
      done.add(name)
    }
    for (const source of sources) visit(source.name)
  })

  test('what a simulation drives takes time and chance from ports only', () => {
    for (const source of sources) {
      if (!driven.includes(source.folder) || source.name.includes('conformance')) continue
      const found = ambient.exec(source.code)
      assert.equal(found, null, `${source.name} uses ${found?.[0]}`)
    }
  })

  test('a simulation reaches nothing that waits for real time or does real input and output', () => {
    const byName = new Map(sources.map((source) => [source.name, source]))
    const reached = reachedFrom('sim/simulation', byName)
    assert.ok(reached.size > 80, `the whole program was reached: ${reached.size} files`)
    for (const name of ['runtime/node', 'journal/file-journal', 'coordinator/builtin/voter', 'link/link']) {
      assert.ok(reached.has(name), `${name} is simulated`)
    }
    assert.deepEqual(
      [...reached].flatMap((name) => realIn(byName.get(name)!)),
      [],
    )
  })

  test('the check of a simulation finds what it is there for', () => {
    const real = (code: string) => realIn(sample('runtime/x', code)).length
    assert.equal(real("import { open } from 'node:fs/promises'"), 1)
    assert.equal(real("import { connect } from 'node:net'"), 1)
    assert.equal(real("const { Worker } = await import('node:worker_threads')"), 1)
    assert.equal(real("import pino from 'pino'"), 1)
    assert.equal(real('const timer = setTimeout(go, 5)'), 1)
    assert.equal(real('const now = performance.now()'), 1)
    assert.equal(real("import { createHash } from 'node:crypto'"), 0)
    const chain = ['sim/simulation', 'runtime/a', 'platform/b'].map((name, index, names) => {
      const next = names[index + 1]
      return sample(name, next === undefined ? "import 'node:fs'" : `import { x } from '../${next}.js'`)
    })
    const byName = new Map(chain.map((source) => [source.name, source]))
    assert.deepEqual([...reachedFrom('sim/simulation', byName)], ['sim/simulation', 'runtime/a', 'platform/b'])
    // Types are gone when the program runs.
    byName.set('runtime/a', sample('runtime/a', "import type { x } from '../platform/b.js'"))
    assert.deepEqual([...reachedFrom('sim/simulation', byName)], ['sim/simulation', 'runtime/a'])
  })

  test('the core decides at once: no promises', () => {
    for (const source of sources) {
      if (source.folder !== 'core') continue
      const found = /\b(?:async|await|Promise)\b/.exec(source.code)
      assert.equal(found, null, `${source.name} uses ${found?.[0]}`)
    }
  })
})
