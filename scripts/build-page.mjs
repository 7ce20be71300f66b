// Builds the status page from web/ into dist/page, each file beside its compressed forms: what the server sends as it is.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build } from 'vite'

const root = fileURLToPath(new URL('../web/', import.meta.url))
const outDir = fileURLToPath(new URL('../dist/page/', import.meta.url))

await build({
  configFile: false,
  root,
  // Links of the page are relative to it, so that it works behind a path of a proxy too.
  base: './',
  logLevel: 'warn',
  cacheDir: fileURLToPath(new URL('../build/vite/', import.meta.url)),
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir,
    emptyOutDir: true,
    target: ['chrome116', 'firefox124', 'safari17.4'],
    // A data: URL would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
})

for (const name of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
  if (!name.isFile()) continue
  const file = `${name.parentPath}/${name.name}`
  const content = readFileSync(file)
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length }
  writeFileSync(`${file}.br`, brotliCompressSync(content, { params }))
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }))
}
