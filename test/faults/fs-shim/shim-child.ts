/**
 * A process whose file operations are made to fail: does what it is told over the adapter that nodes use, a line of JSON for
 * each, and answers with what it got.
 */
import { createInterface } from 'node:readline'
import { ClassicLevel } from 'classic-level'
import { nodeFileSystem as fs } from '#src/platform/node-file-system.js'
import type { File } from '#src/ports/file-system.js'

const [path = ''] = process.argv.slice(2)
let file: File | undefined
let level: ClassicLevel | undefined

const steps: Readonly<Record<string, (text: string) => Promise<unknown>>> = {
  async create() {
    file = await fs.open(path, 'create')
  },
  async open() {
    file = await fs.open(path, 'write')
  },
  /** Two parts, so that what is short ends inside one of them. */
  async write(text) {
    const bytes = Buffer.from(text)
    await file!.write([bytes.subarray(0, 3), bytes.subarray(3)], 0)
  },
  async read(bytes) {
    const into = new Uint8Array(Number(bytes))
    return Buffer.from(into.subarray(0, await file!.read(into, 0))).toString()
  },
  sync: () => file!.sync(),
  datasync: () => file!.datasync(),
  truncate: (bytes) => file!.truncate(Number(bytes)),
  rename: (to) => fs.rename(path, to),
  remove: () => fs.remove(path),
  syncDirectory: (directory) => fs.syncDirectory(directory),
  async level(directory) {
    level = new ClassicLevel(directory)
    await level.open()
  },
  put: (key) => level!.put(key, key, { sync: true }),
}

for await (const line of createInterface({ input: process.stdin })) {
  const [step = '', text = ''] = JSON.parse(line) as string[]
  let answer: object
  try {
    answer = { value: await steps[step]!(text) }
  } catch (error) {
    const { code, message, cause } = error as NodeJS.ErrnoException
    answer = { code, message: `${message} ${(cause as Error | undefined)?.message ?? ''}` }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
process.exit(0)
