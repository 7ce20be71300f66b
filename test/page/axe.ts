import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface AxeResult {
  readonly violations: ReadonlyArray<{
    readonly id: string
    readonly impact: string | null
    readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
  }>
  readonly passes: readonly unknown[]
}

/** Findings that keep somebody from using the page, as texts. Throws if the check itself found nothing to check. */
export async function graveFindings(page: Page): Promise<string[]> {
  await page.evaluate(source)
  const { violations, passes } = (await page.evaluate(
    'axe.run(document, { resultTypes: ["violations"] })',
  )) as AxeResult
  if (passes.length < 10) throw new Error(`axe has checked only ${passes.length} rules`)
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`)
}
