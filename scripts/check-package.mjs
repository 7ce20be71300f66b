// What users get: packs the package, looks through what is in it, installs it into an empty directory and runs the demo there.
// `--contents` stops before the installation. Needs a build; leaves nothing behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const packedBytesMax = 1024 * 1024
const unpackedBytesMax = 5 * 1024 * 1024
/** Everything that may be in it; a folder ends with a slash. */
const allowed = [
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'dist/',
  'docs/',
  'deploy/',
  'examples/',
].concat(['install.mjs', 'binding.gyp', 'src/', 'README.md'].map((name) => `native/rocksdb/${name}`))
const required = [
  'dist/index.js',
  'dist/index.d.ts',
  'dist/testing.js',
  'dist/cli/main.js',
  'dist/page/index.html',
  'native/rocksdb/src/addon.cc',
  'README.md',
  'LICENSE',
]
/** What never belongs into a package: tests, leftovers, maps whose sources are not there, and what looks secret. */
const unwanted =
  /\.(map|tsbuildinfo|tgz|log|env|pem|key|journal)$|(^|\/)(test|node_modules|\.[^/]+)\/|\.test\.|secret\.txt/
const secrets =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bnpm_[A-Za-z0-9]{36}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|_authToken/
const problems = []

async function run(command, args, options = {}) {
  const own = Object.entries(process.env).filter(([name]) => !/^(UNDERSTUDY_|NODE_OPTIONS|npm_(?!config_))/.test(name))
  const child = spawn(command, args, {
    ...options,
    env: { ...Object.fromEntries(own), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (piece) => (stdout += piece))
  child.stderr.on('data', (piece) => (stderr += piece))
  const [code] = await once(child, 'close')
  if (code !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`)
  return stdout
}

/** Packages that a file imports must be there for users. */
function undeclared(text, dependencies) {
  const found = text.matchAll(
    /^(?:\} from|(?:import|export) [^'\n]*from|import) '([^'.#][^']*)'|\bimport\('([^'.#][^']*)'\)/gm,
  )
  return [...found]
    .map(([, imported, dynamic]) => imported ?? dynamic)
    .map((name) => (name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0]))
    .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name) && !dependencies.has(name))
}

async function checkContents(packed, manifest) {
  const paths = packed.files.map((file) => file.path)
  for (const path of required) if (!paths.includes(path)) problems.push(`${path} is missing`)
  for (const path of paths) {
    if (!allowed.some((one) => path === one || (one.endsWith('/') && path.startsWith(one))))
      problems.push(`${path} is not expected`)
    if (unwanted.test(path)) problems.push(`${path} does not belong there`)
  }
  if (packed.size > packedBytesMax) problems.push(`${packed.size} bytes packed; at most ${packedBytesMax}`)
  if (packed.unpackedSize > unpackedBytesMax)
    problems.push(`${packed.unpackedSize} bytes unpacked; at most ${unpackedBytesMax}`)
  const dependencies = new Set(Object.keys(manifest.dependencies))
  for (const path of paths) {
    const text = await readFile(join(root, path), 'utf8')
    if (secrets.test(text)) problems.push(`${path} holds something that looks like a secret`)
    if (text.includes(root)) problems.push(`${path} names a directory of this machine`)
    if (!path.startsWith('dist/') || !path.endsWith('.js')) continue
    for (const name of undeclared(text, dependencies)) problems.push(`${path} imports ${name}, which is no dependency`)
  }
  const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`
  console.log(`${packed.entryCount} files, ${kib(packed.size)} packed, ${kib(packed.unpackedSize)} unpacked`)
}

/** In an empty directory, from the tarball alone: import, types of the command line, demo. */
async function checkInstallation(directory, tarball) {
  await writeFile(join(directory, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  // The addon has a build of its own; here it is about what works without one.
  const env = { UNDERSTUDY_ROCKSDB: 'off' }
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', tarball], { cwd: directory, env })
  const program = `import { open, version } from 'understudy-db'
    const db = await open('data', { valueEncoding: 'json' })
    await db.put('k', { v: version })
    console.log((await db.get('k')).v)
    await db.close()`
  await writeFile(join(directory, 'program.js'), program)
  const version = (await run(process.execPath, ['program.js'], { cwd: directory })).trim()
  const command = (await run('npx', ['--no-install', 'understudy', '--version'], { cwd: directory })).trim()
  if (command !== version) problems.push(`the library says ${version}, the command ${command}`)
  const lines = (await run('npx', ['--no-install', 'understudy-db', 'demo', '--json'], { cwd: directory }))
    .trim()
    .split('\n')
  const last = JSON.parse(lines.at(-1))
  console.log(`installed ${version}; the demo: ${lines.at(-1)}`)
  if (lines.length < 5) problems.push(`the demo told only ${lines.length} events`)
  return last
}

const directory = await mkdtemp(join(tmpdir(), 'understudy-package-'))
try {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const answer = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', directory], {
    cwd: root,
  })
  const [packed] = JSON.parse(answer)
  await checkContents(packed, manifest)
  if (problems.length === 0 && !process.argv.includes('--contents')) {
    await checkInstallation(directory, join(directory, packed.filename))
  }
} finally {
  await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
}
for (const problem of problems) console.error(problem)
process.exit(problems.length === 0 ? 0 : 1)
