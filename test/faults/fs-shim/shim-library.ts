/** Builds the library that makes file operations fail, once per test process. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** From build/test/faults/fs-shim. */
const source = fileURLToPath(new URL('../../../../test/faults/fs-shim/fs-shim.c', import.meta.url))
let built: string | { readonly unavailable: string } | undefined

/** Path of the library, or why there is none. */
export function shimLibrary(): string | { readonly unavailable: string } {
  built ??= build()
  return built
}

function build(): string | { readonly unavailable: string } {
  if (process.platform !== 'linux') return { unavailable: 'it needs Linux' }
  const directory = mkdtempSync(join(tmpdir(), 'understudy-shim-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  const library = join(directory, 'fs-shim.so')
  const compiled = spawnSync(
    process.env.CC ?? 'cc',
    ['-O1', '-Wall', '-Wextra', '-shared', '-fPIC', '-o', library, source, '-ldl', '-lpthread'],
    { encoding: 'utf8' },
  )
  if (compiled.status === 0) return library
  return { unavailable: `no C compiler built it: ${compiled.error?.message ?? compiled.stderr}` }
}

/**
 * Options of a test that needs it: skipped where it cannot be built, except where UNDERSTUDY_TEST_FS_SHIM=required says
 * that it must be there.
 */
export function needsShim(): { readonly skip: string | false } {
  const library = shimLibrary()
  if (typeof library === 'string' || process.env.UNDERSTUDY_TEST_FS_SHIM === 'required') return { skip: false }
  return { skip: `file operations cannot be made to fail: ${library.unavailable}` }
}
