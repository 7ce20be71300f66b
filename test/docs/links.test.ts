/** Every relative link in the pages leads to a file that is there, and to a heading of it. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { anchorsOf, linksOf } from '../support/markdown.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** docs/api is generated, and not kept. */
const skipped = new Set(['node_modules', 'dist', 'build', '.git', 'api'])

function pagesIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name)) return []
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return pagesIn(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}

function brokenIn(path: string): string[] {
  const page = readFileSync(path, 'utf8')
  return linksOf(page).flatMap((link) => {
    if (/^[a-z]+:/.test(link)) return []
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? path : resolve(dirname(path), decodeURIComponent(file))
    const broken = `${relative(root, path)}: ${link}`
    if (!existsSync(target)) return [broken]
    if (anchor === undefined || !target.endsWith('.md')) return []
    return anchorsOf(readFileSync(target, 'utf8')).has(anchor) ? [] : [broken]
  })
}

const pages = pagesIn(root)

describe('documentation', () => {
  test('every relative link resolves, headings included', () => {
    assert.ok(pages.length > 12)
    assert.ok(pages.flatMap((path) => linksOf(readFileSync(path, 'utf8'))).length > 60, 'links were found')
    assert.deepEqual(pages.flatMap(brokenIn), [])
  })

  test('the index of docs names every page', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8')
    const named = new Set(linksOf(index).map((link) => resolve(root, 'docs', link.split('#')[0]!)))
    const missing = pages.filter((path) => path.startsWith(join(root, 'docs')) && !path.endsWith('docs/README.md'))
    assert.deepEqual(
      missing.filter((path) => !named.has(path)).map((path) => relative(root, path)),
      [],
    )
  })

  test('README leads to every page that a user needs, in fewer than 200 lines', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    assert.ok(readme.split('\n').length < 200)
    const links = linksOf(readme)
    for (const name of [
      'QUICK-START',
      'GUARANTEES',
      'OPERATING',
      'CONFIGURATION',
      'MIGRATING',
      'COMPARISON',
      'README',
    ]) {
      assert.ok(links.includes(`docs/${name}.md`), name)
    }
  })

  test('the check finds what it is there for', () => {
    const page = '# A b: `c`\n\n[x](#a-b-c) [y](nowhere.md)\n\n```sh\n[no](link)\n```\n`[no](either)`\n'
    assert.deepEqual(linksOf(page), ['#a-b-c', 'nowhere.md'])
    assert.deepEqual([...anchorsOf(page)], ['a-b-c'])
  })
})
