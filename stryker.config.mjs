// Mutation testing of src/core and src/journal. Started by scripts/mutate.mjs, one batch of files at a time; see
// docs/MUTATION-TESTING.md. Not part of the checks of every change: a whole run takes hours.

/** The quick ones first: Stryker stops at the first test file that fails. */
const tests = {
  core: [
    'conditions',
    'in-sync-conditions',
    'takeover-conditions',
    'claims-conditions',
    'append',
    'bootstrap',
    'checkpoint-transfer',
    'divergent',
    'failover-conditions',
    'failover-status',
    'handshake',
    'history',
    'in-sync',
    'lifecycle',
    'position',
    'promotion',
    'recovery',
    'requests-conditions',
    'registrations',
    'replication-health',
    'retention',
    'small-conditions',
    'start',
    'takeover',
    'told-failover',
    'verify',
    'voter-records',
    'lease',
    'requests',
    'model',
    'model-coordinator',
    'rewind-conditions',
    'rewind',
  ],
  journal: [
    'writer-conditions',
    'recovery-conditions',
    'format-conditions',
    'reading-conditions',
    'tail-cache-conditions',
    'files-conditions',
    'side-file',
    'power-loss',
    'disk-errors',
    'concurrency',
    'conformance',
    'inspect',
    'damage',
  ],
}

const folder = process.env.UNDERSTUDY_MUTATE ?? 'core'
const name = process.env.UNDERSTUDY_MUTATE_NAME ?? folder
const files = process.env.UNDERSTUDY_MUTATE_FILES?.split(',') ?? []
/** Those named like a file of the batch go first: they notice most. */
const isOwn = (test) => files.some((file) => test === file || test === `${file}-conditions`)
/** UNDERSTUDY_MUTATE_TESTS: these alone. What survives them is tried again with all (`--again`). */
const only = process.env.UNDERSTUDY_MUTATE_TESTS?.split(',')
const chosen = tests[folder].filter((test) => only?.includes(test) ?? true)
const ordered = [...chosen.filter(isOwn), ...chosen.filter((test) => !isOwn(test))]
process.env.UNDERSTUDY_PROPERTY_SHARE ??= folder === 'core' ? '0.25' : '0.1'
// Losses of power in the order of their seeds.
process.env.UNDERSTUDY_SEEDS ??= '5'

// biome-ignore lint/style/noDefaultExport: that is how Stryker reads it
export default {
  testRunner: 'tap',
  plugins: ['@stryker-mutator/tap-runner'],
  tap: {
    testFiles: ordered.map((test) => `build/test/${folder}/${test}.test.js`),
    nodeArgs: ['--test-reporter=tap', '-r', '{{hookFile}}', '{{testFile}}'],
  },
  // A test is a test file here, run in a process of its own.
  coverageAnalysis: 'perTest',
  buildCommand: 'tsc -b test',
  ignorePatterns: ['/build', '/dist', '/native', '/bench', '/.ci'],
  concurrency: 1,
  timeoutMS: 4_000,
  timeoutFactor: 3,
  disableTypeChecks: true,
  // Stryker would rewrite it with the JavaScript API of TypeScript, which version 7 does not have; nothing needs it.
  tsconfigFile: 'none',
  tempDirName: 'build/mutation/sandbox',
  reporters: ['json', 'progress-append-only'],
  jsonReporter: { fileName: `build/mutation/${name}.json` },
  allowEmpty: true,
}
