/** Who may look and who may do, in a real browser, over a node that is none. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Browser } from 'playwright-core'
import { UnderstudyError } from '#src/errors.js'
import { type FakeServer, withServer } from '../support/fake-server.js'
import { graveFindings } from './axe.js'
import { browserMissing, launchBrowser, openPage, type Watched } from './support.js'

const skip = browserMissing() ?? false
const secret = 'geheim-geheim-geheim'

describe('tokens and results of the status page', { skip, timeout: 120_000 }, () => {
  let browser: Browser
  before(async () => {
    browser = await launchBrowser()
  })
  after(() => browser?.close())

  const withPage = (use: (watched: Watched, fake: FakeServer) => Promise<void>, options = {}) =>
    withServer(async (fake) => {
      fake.node.members = ['b', 'c'].map((node) => ({
        ...({ node, address: '127.0.0.1:1', reachable: true, role: 'standby', state: 'streaming' } as const),
        ...{ epoch: { number: 1, node: 'a' }, durable: 0, applied: 0, inSync: true, lastSeenMs: 10 },
      }))
      fake.node.main.inSync = ['a', 'b', 'c']
      const watched = await openPage(browser, `http://${fake.address}`)
      try {
        await use(watched, fake)
      } finally {
        await watched.context.close()
      }
    }, options)

  const stored = ({ page }: Watched) =>
    page.evaluate('JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie])') as Promise<string>

  test('a node with a secret asks for it, refuses a wrong one, and the token goes nowhere but in a header', async () => {
    await withPage(
      async (watched) => {
        const { page, requests } = watched
        await page.getByRole('heading', { name: 'This node asks for a token' }).waitFor()
        assert.deepEqual(await graveFindings(page), [])
        assert.equal(await page.locator('.verdict').count(), 0)
        await page.getByLabel('Token', { exact: true }).fill('falsch-falsch-falsch')
        await page.keyboard.press('Enter')
        await page.getByRole('alert').filter({ hasText: 'the token is not known here' }).waitFor()
        await page.getByLabel('Token', { exact: true }).fill(secret)
        await page.keyboard.press('Enter')
        await page.locator('.verdict').waitFor()
        assert.ok(!requests.join().includes(secret) && !page.url().includes(secret))
        assert.ok(!(await stored(watched)).includes(secret), 'in memory alone')
      },
      { secret },
    )
  })

  test('kept for the tab only if that is wanted, and forgotten when it is taken back', async () => {
    await withPage(
      async (watched) => {
        const { page } = watched
        await page.getByLabel('Token', { exact: true }).fill(secret)
        await page.getByLabel('Keep it until this tab is closed').check()
        await page.getByRole('button', { name: 'Show the cluster' }).click()
        await page.locator('.verdict').waitFor()
        assert.match(await stored(watched), /^\[\{"understudy-read-token":"geheim-geheim-geheim"\},\{\},""\]$/)
        await page.reload()
        await page.locator('.verdict').waitFor()
        assert.equal(await page.locator('.gate').count(), 0)
      },
      { secret },
    )
  })

  test('what the node refuses is shown with its code and its hint; another try may succeed', async () => {
    await withPage(async ({ page }, { node }) => {
      node.main.failures.set(
        'switchover',
        new UnderstudyError('SWITCHOVER_REFUSED', 'b is 12 entries behind', {
          outcome: 'none',
          hint: 'wait until it has caught up, or name another node',
        }),
      )
      await page.getByRole('button', { name: 'Switch over…' }).click()
      await page.getByRole('radio', { name: /^c/ }).check()
      await page.getByRole('button', { name: 'Switch over to c' }).click()
      const outcome = page.locator('.outcome')
      await outcome.waitFor()
      const text = await outcome.innerText()
      assert.match(text, /^The switchover did not happen/)
      assert.match(text, /b is 12 entries behind/)
      assert.match(text, /What to do: wait until it has caught up, or name another node/)
      assert.match(text, /UNDERSTUDY_SWITCHOVER_REFUSED/)
      assert.deepEqual(await graveFindings(page), [])
      node.main.failures.delete('switchover')
      await page.getByRole('button', { name: 'Switch over to c' }).click()
      await page.locator('.outcome.good').waitFor()
      const calls = node.main.calls.filter(({ name }) => name === 'switchover')
      assert.deepEqual(calls.at(-1)!.argument, { to: 'c', timeoutMs: 10_000 })
    })
  })

  test('an outcome that nobody knows is not told as a failure', async () => {
    await withPage(async ({ page }, { node }) => {
      node.main.failures.set('switchover', new UnderstudyError('TIMEOUT', 'no answer', { outcome: 'unknown' }))
      await page.getByRole('button', { name: 'Switch over…' }).click()
      await page.getByRole('button', { name: /^Switch over to/ }).click()
      await page.locator('.outcome').waitFor()
      assert.match(await page.locator('.outcome').innerText(), /^Whether it happened is not known/)
    })
  })
})
