/** The page of a cluster of real processes, in a real browser: what it shows when things go well and when they do not. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import type { ClusterProcesses } from '#src/cli/cluster-processes.js'
import type { Load } from '#src/cli/load.js'
import { until } from '../support/cluster.js'
import { graveFindings } from './axe.js'
import {
  browserMissing,
  createCluster,
  createLoad,
  desktop,
  fill,
  launchBrowser,
  openPage,
  phone,
  slowBootstrap,
  startCluster,
  type Watched,
} from './support.js'

const skip = browserMissing() ?? false

const waitMs = 30_000
const textOf = (page: Page, selector: string) => page.locator(selector).first().innerText({ timeout: waitMs })

async function appliedOf(page: Page, node: string): Promise<number> {
  return Number((await textOf(page, `[data-node=${node}] .figures div:nth-child(4) dd`)).replace(/,/g, ''))
}

/** Waits until a part of the page says so; fails with what it said last. */
async function untilText(page: Page, selector: string, wanted: RegExp, timeoutMs = waitMs): Promise<void> {
  let last = ''
  await until(
    async () => {
      last = await textOf(page, selector)
      return wanted.test(last)
    },
    () => `${selector} says ${wanted}; it said: ${last}`,
    timeoutMs,
  )
}

/** Everything was asked of the node that serves the page. */
function assertOnlyOwnRequests({ requests }: Watched, url: string): void {
  assert.ok(requests.length >= 4, requests.join())
  for (const request of requests) assert.equal(new URL(request).origin, new URL(url).origin, request)
}

/** What the browser itself says of a node that is gone is no complaint of the page. */
function complaintsOf({ complaints }: Watched): string[] {
  return complaints.filter((text) => !text.startsWith('Failed to load resource: net::ERR_'))
}

describe('the status page of a cluster', { skip, timeout: 240_000 }, () => {
  let browser: Browser
  let cluster: ClusterProcesses
  let load: Load

  before(async () => {
    browser = await launchBrowser()
    cluster = await createCluster()
    await startCluster(cluster)
    load = createLoad([cluster.url('a'), cluster.url('b')])
    load.start()
  })
  after(async () => {
    await load?.stop()
    await browser?.close()
    await cluster?.close()
  })

  test('normal: the answer first, every node, moving figures, nothing asked of anybody else', async () => {
    const watched = await openPage(browser, cluster.url('a'))
    const { page } = watched
    await untilText(page, '.verdict h2', /^Can fail over now: yes$/)
    await untilText(page, '.because', /^because [bc] holds everything and can take over\.$/)
    assert.match(await textOf(page, '.writes'), /^a takes the writes; each is on a, b and c before/)
    await untilText(page, '.warnings', /No warnings/)
    for (const [node, role] of [
      ['a', 'primary'],
      ['b', 'standby'],
      ['c', 'standby'],
    ]) {
      await untilText(page, `[data-node=${node}]`, new RegExp(`${role}.*in sync.*epoch 1@a`, 's'))
    }
    await untilText(page, '[data-node=b] .lag', /^up to date/)
    const applied = () => appliedOf(page, 'c')
    const first = await applied()
    await until(async () => (await applied()) > first, 'the figures move')
    await untilText(page, '[data-node=a] .lag', /commits\/s · p50 [\d.]+ m?s · p99 [\d.]+ m?s/)
    await untilText(page, '.timeline', /a is primary in epoch 1@a/)
    assert.match(await page.title(), /^local · Understudy$/)
    assertOnlyOwnRequests(watched, cluster.url('a'))
    assert.deepEqual(complaintsOf(watched), [])
    await watched.context.close()
  })

  test('plots have a text beside them, a table below and a time to choose', async () => {
    const { page, context } = await openPage(browser, cluster.url('c'))
    await page.locator('#plot-latency-title').waitFor()
    const canvas = page.getByRole('img', { name: /^Commit latency\. Now: p50/ })
    await canvas.waitFor()
    assert.ok((await canvas.locator('canvas').count()) === 1)
    await page.getByText('As a table').first().click()
    const table = page.getByRole('table', { name: /Behind the primary/ })
    assert.equal(await table.getByRole('row').count(), 4)
    await page.getByRole('radio', { name: '2 min' }).check({ force: true })
    assert.equal(await page.getByRole('radio', { name: '2 min' }).isChecked(), true)
    await context.close()
  })

  test('nothing jumps while all is well', async () => {
    const { page, context } = await openPage(browser, cluster.url('b'))
    await untilText(page, '.verdict h2', /yes/)
    await page.evaluate(`window.shift = 0; new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.shift += entry.value
    }).observe({ type: 'layout-shift', buffered: false })`)
    const top = async () => (await page.locator('.plots').boundingBox())!.y
    const before = await top()
    const applied = () => appliedOf(page, 'a')
    const seen = await applied()
    await until(async () => (await applied()) > seen + 200, 'more pictures')
    assert.equal(await top(), before)
    assert.ok(Number(await page.evaluate('window.shift')) < 0.02)
    await context.close()
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`axe finds nothing grave, ${colorScheme}, at a desk and on a phone, page and dialog`, async () => {
      for (const viewport of [desktop, phone]) {
        const { page, context } = await openPage(browser, cluster.url('a'), { colorScheme, viewport })
        await untilText(page, '.timeline', /primary/)
        assert.deepEqual(await graveFindings(page), [])
        await page.getByRole('button', { name: 'Switch over…' }).click()
        assert.deepEqual(await graveFindings(page), [])
        await context.close()
      }
    })
  }

  test('360 px wide: nothing sticks out, everything can be touched', async () => {
    const { page, context } = await openPage(browser, cluster.url('a'), { viewport: phone, hasTouch: true })
    await untilText(page, '.timeline', /primary/)
    const [scroll, client] = (await page.evaluate(
      '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
    )) as [number, number]
    assert.ok(scroll <= client, `${scroll} wide on ${client}`)
    for (const button of await page.getByRole('button').all()) {
      const box = (await button.boundingBox())!
      assert.ok(box.height >= 44 && box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box))
    }
    await page.getByRole('button', { name: 'Switch over…' }).tap()
    const dialog = (await page.getByRole('dialog').boundingBox())!
    assert.ok(dialog.x >= 0 && dialog.x + dialog.width <= 360)
    await context.close()
  })

  test('colours follow the system until somebody chooses, and the choice is kept', async () => {
    const { page, context } = await openPage(browser, cluster.url('a'), { colorScheme: 'dark' })
    const background = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor')
    await page.locator('.verdict').waitFor()
    const dark = await background()
    await page.getByRole('button', { name: /^Colours: Auto/ }).click()
    const light = await background()
    assert.notEqual(light, dark)
    await page.reload()
    await page.getByRole('button', { name: /^Colours: Light/ }).waitFor()
    assert.equal(await background(), light)
    await context.close()
  })

  test('verify: asks first, and says honestly what came of it', async () => {
    const { page, context } = await openPage(browser, cluster.url('a'))
    await page.getByRole('button', { name: 'Verify…' }).click()
    await page.getByRole('button', { name: 'Verify now' }).click()
    await untilText(page, '.outcome', /^All nodes hold the same/)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await context.close()
  })

  test('a switchover with the keyboard alone, from a standby; nothing of it in the address', async () => {
    const watched = await openPage(browser, cluster.url('b'))
    const { page } = watched
    await untilText(page, '.verdict h2', /yes/)
    const focused = () =>
      page.evaluate('document.activeElement.textContent + document.activeElement.value') as Promise<string>
    const tabTo = async (wanted: RegExp) => {
      for (let presses = 0; presses < 30; presses++) {
        if (wanted.test(await focused())) return
        await page.keyboard.press('Tab')
      }
      assert.fail(`${wanted} is not reached by the keyboard`)
    }
    await tabTo(/^To the state of the cluster/)
    await tabTo(/^Switch over…/)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    // Whichever is chosen at first has the focus; the choice shall be b.
    assert.match(await focused(), /^(b|c)$/)
    assert.equal(await page.evaluate('document.activeElement.checked'), true)
    for (let presses = 0; presses < 3 && !/b$/.test(await focused()); presses++) await page.keyboard.press('ArrowDown')
    await tabTo(/^Switch over to b/)
    await page.keyboard.press('Enter')
    await untilText(page, '.outcome .title', /^b is primary now$/)
    assert.match(await textOf(page, '.outcome'), /Epoch 2@b\. Writes paused for \d+ ms; none was lost\./)
    await page.keyboard.press('Escape')
    assert.match(await focused(), /^Switch over…/, 'the focus is where it was')
    await untilText(page, '[data-node=b]', /primary/)
    await untilText(page, '.timeline', /b is primary in epoch 2@b, by switchover, took /)
    assert.equal(page.url(), `${cluster.url('b')}/`)
    assertOnlyOwnRequests(watched, cluster.url('b'))
    await watched.context.close()
  })

  test('degraded: a standby is killed; it is said first, with what to do, and read aloud', async () => {
    const watched = await openPage(browser, cluster.url('b'))
    const { page } = watched
    await untilText(page, '.warnings', /No warnings/)
    await cluster.kill('c')
    await untilText(page, '.warnings li:first-child', /^c does not answer \(nothing listens there\)/)
    await untilText(page, '[data-node=c]', /no answer[\s\S]*last seen/)
    await untilText(page, '[data-node=c] header', /was standby[\s\S]*not in sync/)
    assert.match(await textOf(page, '.warnings'), /Start it again/)
    await untilText(page, '.because', /But writes would then wait/)
    await untilText(page, '[role=log]', /c does not answer/)
    await untilText(page, '.timeline', /c does not answer any more/)
    assert.match(await page.title(), /^\(\d\) local/)
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      assert.deepEqual(await graveFindings(page), [])
    }
    await page.getByRole('button', { name: 'Switch over…' }).click()
    assert.equal(await page.getByRole('radio', { name: /^c\s*does not answer/ }).isDisabled(), true)
    await page.keyboard.press('Escape')
    assert.deepEqual(complaintsOf(watched), [])
    cluster.start('c')
    await untilText(page, '.warnings', /No warnings/)
    await untilText(page, '[role=log]', /No warnings any more/)
    await watched.context.close()
  })

  test('the coordinator is away: no failover, and why', async () => {
    const { page, context } = await openPage(browser, cluster.url('a'))
    await untilText(page, '.verdict h2', /yes/)
    await cluster.kill('w')
    await untilText(page, '.verdict h2', /^Can fail over now: no$/)
    await untilText(page, '.warnings', /The coordinator cannot be reached from a, b and c/)
    cluster.start('w')
    await untilText(page, '.verdict h2', /^Can fail over now: yes$/)
    await context.close()
  })

  test('the serving node is killed: the page says so, greys the last picture, and recovers with the node', async () => {
    const watched = await openPage(browser, cluster.url('a'))
    const { page } = watched
    await untilText(page, '.verdict h2', /yes/)
    await cluster.kill('a')
    await untilText(page, '.notice', /^Node a, which serves this page, does not answer: last seen \d+ s ago/)
    await untilText(page, '.bar .live', /^last seen [1-9]\d* s ago$/)
    assert.equal(await page.locator('.picture.old').count(), 1)
    assert.match(await textOf(page, '.verdict h2'), /^Could fail over when last seen/)
    assert.equal(await page.getByRole('button', { name: 'Switch over…' }).isDisabled(), true)
    assert.equal(await page.locator('.notice a').first().getAttribute('href'), `${cluster.url('b')}/`)
    assert.match(await textOf(page, '[data-node=b]'), /primary/, 'the last picture is still there')
    await untilText(page, '[role=log]', /does not answer/)
    cluster.start('a')
    await untilText(page, '.bar .live', /^live from a$/)
    assert.equal(await page.locator('.notice').count(), 0)
    assert.equal(await page.locator('.picture.old').count(), 0)
    await untilText(page, '[role=log]', /Connected again/)
    await cluster.untilInSync('b', ['a', 'b', 'c'])
    await watched.context.close()
  })

  test('failed over: the primary is killed, the page of a standby shows the new one and how long it took', async () => {
    const watched = await openPage(browser, cluster.url('c'))
    const { page } = watched
    await untilText(page, '.verdict h2', /yes/)
    load.switchTo(['a', 'c'].map((name) => cluster.url(name)))
    await cluster.kill('b')
    await untilText(page, '.timeline', /(a|c) is primary in epoch 3@\1, by failover, took /)
    await untilText(page, '[data-node=b] header', /was primary/)
    await untilText(page, '.facts', /Primary\s+[ac]/)
    await untilText(page, '.verdict h2', /^Can fail over now: yes$/)
    assertOnlyOwnRequests(watched, cluster.url('c'))
    assert.deepEqual(complaintsOf(watched), [])
    await watched.context.close()
  })
})

describe('the status page while a node is built', { skip, timeout: 120_000 }, () => {
  test('bootstrapping: how far, how fast and how long, on the page of another node', async () => {
    const cluster = await createCluster({ args: slowBootstrap })
    const browser = await launchBrowser()
    try {
      await startCluster(cluster, ['a', 'b'])
      await fill(cluster.url('a'), 24)
      const watched = await openPage(browser, cluster.url('a'))
      const { page } = watched
      await untilText(page, '.verdict h2', /yes/)
      cluster.start('c')
      await untilText(page, '[data-node=c] .progress', /copying from [ab][\s\S]*\d+ %[\s\S]*MiB · [\d.]+ MiB\/s/)
      await untilText(page, '[data-node=c] .progress', /about \d+ s left/)
      await untilText(page, '.warnings li.busy', /^c is being built from [ab]: \d+ %, about \d+ s left\./)
      const bar = page.getByRole('progressbar', { name: 'Bootstrap of c' })
      assert.ok(Number(await bar.getAttribute('value')) < 100)
      assert.deepEqual(await graveFindings(page), [])
      await untilText(page, '[data-node=c] .lag', /^up to date/, 60_000)
      await untilText(page, '.warnings', /No warnings/)
      assert.deepEqual(complaintsOf(watched), [])
    } finally {
      await browser.close()
      await cluster.close()
    }
  })
})
