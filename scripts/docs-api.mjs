// The reference of the library's API, in Markdown, from the declarations that users get (dist/*.d.ts): docs/api/.
//
// typedoc reads declarations through TypeScript's own API, which TypeScript 7 does not have; so it runs in a directory of
// its own, with TypeScript 6 beside it. What it writes is not kept in the repository: it would differ with every signature,
// and nothing but this script could tell whether it is up to date. Editors show the same comments from the declarations.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const tools = ['typedoc@0.28', 'typedoc-plugin-markdown@4', 'typescript@6.0']
const entries = ['dist/index.d.ts', 'dist/testing.d.ts'].map((path) => join(root, path))

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: 'inherit' })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ended with ${status}`)
}

if (!entries.every(existsSync)) {
  console.error('dist/index.d.ts is missing: npm run build')
  process.exit(2)
}
const directory = mkdtempSync(join(tmpdir(), 'understudy-api-'))
try {
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ private: true }))
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...tools], directory)
  const compilerOptions = {
    ...{ target: 'ES2023', lib: ['ES2023', 'ESNext.Disposable'], module: 'NodeNext', moduleResolution: 'NodeNext' },
    ...{ strict: true, skipLibCheck: true, noEmit: true, types: ['node'] },
    typeRoots: [join(root, 'node_modules/@types')],
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: entries }))
  const flags = [
    'excludePrivate',
    'excludeProtected',
    'excludeInternal',
    'excludeExternals',
    'disableSources',
    'hideGenerator',
  ]
  run(
    join(directory, 'node_modules/.bin/typedoc'),
    ['--tsconfig', join(directory, 'tsconfig.json'), '--plugin', 'typedoc-plugin-markdown']
      .concat(entries.flatMap((entry) => ['--entryPoints', entry]))
      .concat([
        '--out',
        join(root, 'docs/api'),
        '--readme',
        'none',
        '--outputFileStrategy',
        'modules',
        '--logLevel',
        'Warn',
      ])
      // Parts of options and results that no program needs by name.
      .concat(['--validation.notExported', 'false'])
      .concat(flags.map((flag) => `--${flag}`)),
    root,
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}
console.log('docs/api/README.md')
