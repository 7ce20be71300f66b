/** Pictures of the status page for docs/STATUS-PAGE.md, of real clusters of processes: `npm run screenshots`. */
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { BrowserContextOptions, Page } from 'playwright-core'
import type { ClusterProcesses } from '#src/cli/cluster-processes.js'
import { until } from '../support/cluster.js'
import {
  browserMissing,
  createCluster,
  createLoad,
  fill,
  launchBrowser,
  openPage,
  phone,
  slowBootstrap,
  startCluster,
} from './support.js'

const directory = fileURLToPath(new URL('../../../docs/images/', import.meta.url))
/** So long a plot shows something before a picture is taken. */
const warmUpMs = 60_000

const missing = browserMissing()
if (missing !== undefined) {
  process.stderr.write(`${missing}\n`)
  process.exit(1)
}
mkdirSync(directory, { recursive: true })
const browser = await launchBrowser()

async function open(cluster: ClusterProcesses, node: string, options: BrowserContextOptions = {}): Promise<Page> {
  const { page } = await openPage(browser, cluster.url(node), options)
  await page.locator('.verdict').waitFor()
  return page
}

async function save(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0)
  await page.evaluate('document.activeElement?.blur()')
  await page.screenshot({ path: `${directory}${name}.png`, fullPage: true })
  process.stdout.write(`${name}\n`)
}

async function says(page: Page, selector: string, wanted: RegExp): Promise<void> {
  const text = () => page.locator(selector).first().innerText()
  await until(async () => wanted.test(await text()), `${selector} says ${wanted}`, 60_000)
}

/** Pictures go on until so much time is in the plots. */
async function warmUp(page: Page, ms: number): Promise<void> {
  const endMs = performance.now() + ms
  await until(() => performance.now() > endMs, 'a few pictures', 2 * ms)
  await says(page, '.bar .live', /^live/)
}

async function normalDegradedFailedOver(): Promise<void> {
  const cluster = await createCluster()
  const load = createLoad([cluster.url('a'), cluster.url('b')], 100)
  try {
    await startCluster(cluster)
    load.start()
    const page = await open(cluster, 'b')
    await warmUp(page, warmUpMs)
    await says(page, '.warnings', /No warnings/)
    await save(page, 'status-normal')
    const dark = await open(cluster, 'b', { colorScheme: 'dark' })
    await says(dark, '.warnings', /No warnings/)
    await save(dark, 'status-normal-dark')
    const small = await open(cluster, 'b', { viewport: phone, deviceScaleFactor: 1.5 })
    await says(small, '.warnings', /No warnings/)
    await small.screenshot({ path: `${directory}status-phone.png` })
    await page.getByRole('button', { name: 'Switch over…' }).click()
    await page.screenshot({ path: `${directory}status-switchover.png` })
    await page.keyboard.press('Escape')

    await cluster.kill('c')
    await says(page, '.warnings', /c does not answer/)
    await says(page, '.because', /But writes would then wait/)
    await warmUp(page, 6_000)
    await save(page, 'status-degraded')

    cluster.start('c')
    await says(page, '.warnings', /No warnings/)
    await warmUp(page, 10_000)
    load.switchTo(['b', 'c'].map((name) => cluster.url(name)))
    await cluster.kill('a')
    await says(page, '.timeline', /by failover/)
    await warmUp(page, 10_000)
    await save(page, 'status-failed-over')
  } finally {
    await load.stop()
    await cluster.close()
  }
}

async function bootstrapping(): Promise<void> {
  const cluster = await createCluster({ args: slowBootstrap })
  const load = createLoad(cluster.url('a'), 60)
  try {
    await startCluster(cluster, ['a', 'b'])
    await fill(cluster.url('a'), 64)
    load.start()
    const page = await open(cluster, 'a')
    await warmUp(page, 30_000)
    cluster.start('c')
    await says(page, '[data-node=c]', /[3-6]\d %/)
    await save(page, 'status-bootstrapping')
  } finally {
    await load.stop()
    await cluster.close()
  }
}

try {
  await normalDegradedFailedOver()
  await bootstrapping()
} finally {
  await browser.close()
}
