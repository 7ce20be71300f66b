import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Ends the command as soon as its standard output holds this. */
  readonly interruptAt?: string
  /** Standard output as one character for each byte. */
  readonly binary?: boolean
}

/** Without what the caller's environment says about nodes or colours. */
export function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(UNDERSTUDY_|FORCE_COLOR|NODE_OPTIONS)/.test(name))
  return { ...Object.fromEntries(own), ...extra }
}

/** Runs `understudy` to its end. */
export async function understudy(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const child = start(args, options)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (piece: Buffer) => {
    stdout += piece.toString(options.binary === true ? 'latin1' : 'utf8')
    if (options.interruptAt !== undefined && stdout.includes(options.interruptAt)) child.kill('SIGINT')
  })
  child.stderr?.on('data', (piece: Buffer) => {
    stderr += piece.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

function start(args: readonly string[], options: CommandOptions): ChildProcess {
  return spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment(options.env),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
}

/** A running `understudy serve --json`. */
export class ServeProcess {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''

  constructor(args: readonly string[], options: CommandOptions = {}) {
    this.child = start(['serve', '--json', ...args], options)
    this.child.stdout?.on('data', (piece: Buffer) => {
      this.stdout += piece.toString()
    })
    this.child.stderr?.on('data', (piece: Buffer) => {
      this.stderr += piece.toString()
    })
  }

  /** Its URL, as soon as it listens. */
  async url(): Promise<string> {
    while (!this.stdout.includes('\n')) {
      if (this.child.exitCode !== null) throw new Error(`serve ended with ${this.child.exitCode}: ${this.stderr}`)
      await Promise.race([once(this.child.stdout!, 'data'), once(this.child, 'close')])
    }
    const event = JSON.parse(this.stdout.split('\n')[0]!) as { event: string; url: string }
    if (event.event !== 'listening') throw new Error(`not listening: ${this.stdout}`)
    return event.url
  }

  /** Resolves with the exit code. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill(signal)
      await once(this.child, 'close')
    }
    return this.child.exitCode
  }
}

/** The coded error that a command wrote with `--json`. */
export function codedError(result: CommandResult): { code: string; message: string; hint?: string } {
  return JSON.parse(result.stderr.trim().split('\n').at(-1)!) as { code: string; message: string; hint?: string }
}
