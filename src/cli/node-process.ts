import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'

export interface NodeProcessOptions {
  readonly name: string
  /** Arguments of `understudy`. */
  readonly args: readonly string[]
  /** Where its output goes, appended. */
  readonly logFile: string
  /** Command that starts the rest of its line and becomes it, as `ip netns exec` does. */
  readonly launcher?: readonly string[]
}

const program = fileURLToPath(new URL('./main.js', import.meta.url))

/** Whatever ends this process ends its children, too. */
const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/** One `understudy serve` that was started here, ended by its own process id and nothing else. */
export class NodeProcess {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  /** Resolves with how it ended. */
  readonly ended: Promise<string>
  private readonly child: ChildProcess
  private end: string | undefined

  constructor(options: NodeProcessOptions) {
    this.name = options.name
    this.logFile = options.logFile
    const log = openSync(options.logFile, 'a')
    try {
      const [command = '', ...line] = [...(options.launcher ?? []), process.execPath, program, ...options.args]
      this.child = spawn(command, line, {
        // A file and no pipe: a parent that is slow or stopped never blocks its children.
        stdio: ['ignore', log, log],
        env: withoutOptions(process.env),
      })
    } finally {
      closeSync(log)
    }
    const { child } = this
    this.ended = new Promise((resolve) => {
      const onEnd = (end: string) => {
        living.delete(child)
        this.end ??= end
        resolve(this.end)
      }
      child.once('exit', (code, signal) => onEnd(signal === null ? `exit code ${code}` : `signal ${signal}`))
      child.once('error', (error) => onEnd(error.message))
    })
    this.pid = child.pid ?? 0
    if (child.pid !== undefined) living.add(child)
  }

  get isRunning(): boolean {
    return this.end === undefined
  }

  /** How it ended; undefined while it runs. */
  get endedBy(): string | undefined {
    return this.end
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.isRunning) throw new UnderstudyError('CLOSED', `node ${this.name} is not running (${this.end})`)
    this.child.kill(signal)
  }

  /** At once, as a loss of power to the process. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }

  /** Asks it to stop; kills it when it does not, and says so. */
  async stop(): Promise<void> {
    if (!this.isRunning) return
    this.child.kill('SIGTERM')
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), limits.childStopTimeoutMs)
    })
    const how = await Promise.race([this.ended, late])
    clearTimeout(timer)
    if (how !== 'late') return
    await this.kill()
    throw new UnderstudyError('TIMEOUT', `node ${this.name} did not stop within ${limits.childStopTimeoutMs} ms`, {
      hint: this.logTail(),
    })
  }

  /** The end of its output, for people who look for a cause. */
  logTail(): string {
    const file = openSync(this.logFile, 'r')
    try {
      const { size } = fstatSync(file)
      const length = Math.min(size, limits.childLogTailBytes)
      const buffer = Buffer.alloc(length)
      readSync(file, buffer, 0, length, size - length)
      return `end of ${this.logFile}:\n${buffer.toString()}`
    } finally {
      closeSync(file)
    }
  }

  /** Resident memory of the process; undefined where the system does not show it. */
  get residentBytes(): number | undefined {
    return residentBytesOf(this.pid)
  }
}

function residentBytesOf(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  const file = openSync(`/proc/${pid}/status`, 'r')
  try {
    const buffer = Buffer.alloc(4096)
    const text = buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, 0))
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(text)
    return match === null ? undefined : Number(match[1]) * 1024
  } finally {
    closeSync(file)
  }
}

/** Options in the environment of the caller are not meant for these nodes. */
function withoutOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('UNDERSTUDY_')))
}
