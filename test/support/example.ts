import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './cluster.js'
import { makeDirectory, removeDirectory } from './directory.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A program of an example, as a user would start it. */
export class ExampleProcess {
  readonly child: ChildProcess
  output = ''

  constructor(directory: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const own = Object.entries(process.env).filter(([name]) => !/^(UNDERSTUDY_|NODE_OPTIONS)/.test(name))
    this.child = spawn(process.execPath, args, {
      cwd: directory,
      env: { ...Object.fromEntries(own), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (piece: Buffer) => {
        this.output += piece.toString()
      })
    }
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  async says(text: string): Promise<void> {
    const look = () => {
      if (this.hasEnded && !this.output.includes(text)) throw new Error(`it has ended: ${this.output}`)
      return this.output.includes(text)
    }
    await until(look, () => `"${text}" in: ${this.output}`, 60_000)
  }

  /** Resolves with the exit code. */
  async end(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal !== undefined && !this.hasEnded) this.child.kill(signal)
    if (!this.hasEnded) await once(this.child, 'close')
    return this.child.exitCode
  }
}

/** A copy of an example in a directory of its own, with its packages installed; gone afterwards. */
export async function withExample(
  name: string,
  packages: readonly string[],
  work: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await makeDirectory()
  try {
    await cp(join(root, 'examples', name), directory, { recursive: true })
    await mkdir(join(directory, 'node_modules'))
    await symlink(root, join(directory, 'node_modules', 'understudy-db'))
    for (const one of packages) await symlink(join(root, 'node_modules', one), join(directory, 'node_modules', one))
    await work(directory)
  } finally {
    await removeDirectory(directory)
  }
}
