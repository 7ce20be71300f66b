// `npm run test:asan`: builds the addon of the engine "rocksdb" with AddressSanitizer, beside the ordinary one, and runs
// its tests with it. Fails where the sanitizer reports an error, or a leak of what the addon or RocksDB allocated: Node.js
// itself frees much of what it holds only by ending.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const place = join(root, 'build/asan')
const logs = join(place, 'logs')
const addon = join(place, 'build/Release/understudy_rocksdb.node')
// Not those that take memory away: the sanitizer needs it.
const tests = ['addon', 'flush', 'ingest', 'conformance', 'crash', 'disk-errors']

function run(command, args, options) {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', ...options })
  if (status === 0) return true
  console.error(`${command} ${args.join(' ')} ended with ${error?.message ?? signal ?? status}`)
  return false
}

const gyp = process.env.npm_config_node_gyp
if (process.platform !== 'linux' || gyp === undefined) {
  console.error('AddressSanitizer: on Linux, by `npm run test:asan`')
  process.exit(2)
}
const found = spawnSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' })
const library = found.stdout?.trim() ?? ''
if (!existsSync(library)) {
  console.error('there is no libasan.so: install GCC')
  process.exit(2)
}

mkdirSync(place, { recursive: true })
for (const part of ['src', 'binding.gyp']) {
  cpSync(join(root, 'native/rocksdb', part), join(place, part), { recursive: true })
}
const args = [gyp, 'configure', 'build', '--loglevel=error', '--directory', place, '--sanitize=1']
const nodePrefix = dirname(dirname(process.execPath))
if (existsSync(join(nodePrefix, 'include/node/node_api.h'))) args.push(`--nodedir=${nodePrefix}`)
if (!run(process.execPath, args)) process.exit(1)

rmSync(logs, { recursive: true, force: true })
mkdirSync(logs)
const env = {
  ...process.env,
  UNDERSTUDY_ROCKSDB_ADDON: addon,
  UNDERSTUDY_TEST_ROCKSDB: 'required',
  UNDERSTUDY_DISK_ERRORS: '2',
  LD_PRELOAD: library,
  ASAN_OPTIONS: `detect_leaks=1:fast_unwind_on_malloc=1:log_path=${logs}/report`,
  // What counts as a leak is decided below.
  LSAN_OPTIONS: 'exitcode=0',
}
const files = tests.map((name) => join(root, `build/test/engine/rocksdb-${name}.test.js`))
const passed = files.map((file) => run(process.execPath, ['--test-reporter=spec', file], { env })).every(Boolean)

/** Whether what allocated it is the addon or RocksDB, and not Node.js on its behalf. */
function isOwn(leak) {
  const frames = leak.split('\n').filter((line) => /^\s*#\d+ /.test(line))
  const owner = frames.find(
    (line) => !/ in (operator new|malloc|calloc|realloc|std::|__gnu_cxx::|void std::)/.test(line),
  )
  return owner !== undefined && /understudy|rocksdb|Napi::/.test(owner)
}

const faults = []
let reports = 0
for (const name of readdirSync(logs)) {
  const report = readFileSync(join(logs, name), 'utf8')
  reports += 1
  if (report.includes('ERROR: AddressSanitizer')) faults.push(report)
  for (const part of report.split(/\n(?=(?:Direct|Indirect) leak)/)) {
    if (/^(Direct|Indirect) leak/.test(part) && isOwn(part)) faults.push(part)
  }
}
for (const fault of faults) console.error(fault)
console.log(`${reports} processes reported; ${faults.length} errors and leaks of the addon`)
process.exit(passed && faults.length === 0 ? 0 : 1)
