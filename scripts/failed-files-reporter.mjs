// A reporter of node:test that writes the paths of the test files in which something failed, one per line.
import { fileURLToPath } from 'node:url'

// biome-ignore lint/style/noDefaultExport: node:test loads a reporter by its default export
export default async function* failedFiles(source) {
  const told = new Set()
  for await (const { type, data } of source) {
    if (type !== 'test:fail' || data.file === undefined) continue
    const file = data.file.startsWith('file:') ? fileURLToPath(data.file) : data.file
    if (told.has(file)) continue
    told.add(file)
    yield `${file}\n`
  }
}
