import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { ClusterProcesses, type ClusterProcessesOptions } from '#src/cli/cluster-processes.js'
import { Load } from '#src/cli/load.js'
import { createRandom } from '../faults/support.js'

/** Debian's; another one by UNDERSTUDY_TEST_CHROMIUM. */
const executablePath = process.env.UNDERSTUDY_TEST_CHROMIUM ?? '/usr/bin/chromium'

/** Why there is no browser to test with; undefined if there is one. Where it is required, its absence is an error. */
export function browserMissing(): string | undefined {
  const found = spawnSync(executablePath, ['--version'], { encoding: 'utf8', timeout: 30_000 })
  if (found.status === 0) return undefined
  const reason = `${executablePath} is not there (apt-get install chromium)`
  if (process.env.UNDERSTUDY_TEST_BROWSER === 'required') throw new Error(reason)
  return reason
}

const switches = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath, headless: true, args: switches })
}

export interface Watched {
  readonly page: Page
  readonly context: BrowserContext
  /** URLs of all requests that the page made, or tried. */
  readonly requests: string[]
  /** What the page complained of: thrown errors, refused by the policy, errors on the console. */
  readonly complaints: string[]
}

export const desktop = { width: 1280, height: 900 }
export const phone = { width: 360, height: 740 }

/** A page in a context of its own, with everything noted that it asks for and complains of. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: desktop, reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  const requests: string[] = []
  const complaints: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('pageerror', (error) => complaints.push(`thrown: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  await page.goto(url)
  return { page, context, requests, complaints }
}

export const nodeNames = ['a', 'b', 'c'] as const

/** Three nodes that take over from each other, and a witness that keeps the record. */
export function createCluster(changes: Partial<ClusterProcessesOptions> = {}): Promise<ClusterProcesses> {
  return ClusterProcesses.create({
    names: nodeNames,
    witnesses: ['w'],
    coordinator: 'builtin',
    durability: 'standby',
    inSyncMin: 2,
    ...changes,
    // A browser beside three nodes takes the processor for moments that are no faults.
    args: ['--failover-ms', '2500', '--in-sync-timeout-ms', '2500', ...(changes.args ?? [])],
  })
}

/** Starts the witness and then the nodes, the first before the others, so that it is the primary. */
export async function startCluster(cluster: ClusterProcesses, names: readonly string[] = nodeNames): Promise<void> {
  cluster.start('w')
  const [first, ...others] = names
  cluster.start(first!)
  await cluster.until(first!, 'it found the coordinator', ({ coordinator }) => coordinator.connected)
  for (const name of others) cluster.start(name)
  await cluster.untilInSync(first!, names)
}

/** Few small writes: something moves, and the machine has time for a browser. */
export function createLoad(urls: string | readonly string[], operationsPerSecond = 150): Load {
  return new Load(urls, {
    writers: 4,
    valueBytes: 200,
    operationsPerSecond,
    batchPercent: 5,
    batchKeys: 20,
    counters: 50,
    random: createRandom(7),
  })
}

/** So much data, of random bytes, in values of 256 KiB. */
export async function fill(url: string, mebibytes: number): Promise<void> {
  const each = 256 * 1024
  for (let index = 0; index < mebibytes * 4; index++) {
    const answer = await fetch(`${url}/v1/kv/fill-${index}`, { method: 'PUT', body: randomBytes(each) })
    if (!answer.ok) throw new Error(`filling: ${answer.status} ${await answer.text()}`)
  }
}

/** The primary keeps little of its journal, so that a new node is built from its data, slowly enough to be seen. */
export const slowBootstrap = ['--segment-bytes', '1MiB', '--checkpoint-bytes', '2MiB', '--bootstrap-max-rate', '4MiB']
