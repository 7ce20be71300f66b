/** Alerts and dashboard ask for what is served, and every alert leads to a section that says what to do. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { createMetrics } from '#src/server/metrics.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { parseExposition } from '../support/exposition.js'
import { FakeNode } from '../support/fake-node.js'
import { anchorsOf } from '../support/markdown.js'
import { checkWithPromtool, promtool } from '../support/promtool.js'

const pathOf = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url))
const textOf = (name: string) => readFileSync(pathOf(name), 'utf8')

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly runbook: string }
}

const rules = (parse(textOf('deploy/prometheus/alerts.yaml')) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap(
  (group) => group.rules,
)
const dashboard = JSON.parse(textOf('deploy/grafana/understudy.json')) as {
  readonly panels: ReadonlyArray<{
    readonly id: number
    readonly type: string
    readonly title: string
    readonly targets?: ReadonlyArray<{ readonly expr: string }>
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  }>
}

/** Every name with its labels, as /metrics serves them; a histogram is served as three. */
async function served(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const names = new Map<string, Set<string>>()
  const { types } = parseExposition(await createMetrics().collect(new FakeNode()))
  for (const [name, type] of types) {
    const parts = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    for (const part of parts) names.set(`${name}${part}`, new Set(type === 'histogram' ? ['shard', 'le'] : ['shard']))
  }
  return names
}

const namesIn = (expression: string) => [...expression.matchAll(/\bunderstudy_[a-z_]+/g)].map(([name]) => name)

describe('deploy: observability', () => {
  test('every metric in the alerts is one that is served', async () => {
    const names = await served()
    assert.ok(rules.length >= 20)
    for (const { alert, expr } of rules) {
      if (alert !== 'UnderstudyNodeDown') assert.ok(namesIn(expr).length > 0, alert)
      for (const name of namesIn(expr)) assert.ok(names.has(name), `${alert}: ${name}`)
    }
  })

  test('every metric in the dashboard is one that is served, and panels do not overlap', async () => {
    const names = await served()
    const panels = dashboard.panels.filter((panel) => panel.type !== 'row')
    assert.ok(panels.length >= 15)
    for (const { title, targets } of panels) {
      assert.ok((targets ?? []).length > 0, title)
      for (const { expr } of targets ?? []) {
        assert.ok(namesIn(expr).length > 0, `${title}: ${expr}`)
        for (const name of namesIn(expr)) assert.ok(names.has(name), `${title}: ${name}`)
      }
    }
    const cells = new Set<string>()
    for (const { title, gridPos } of dashboard.panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!cells.has(`${x},${y}`), `${title} lies over another panel`)
          cells.add(`${x},${y}`)
        }
      }
    }
    assert.equal(new Set(dashboard.panels.map((panel) => panel.id)).size, dashboard.panels.length)
  })

  test('every alert leads to a section of docs/OPERATING.md of its name, and the other way round', () => {
    const anchors = anchorsOf(textOf('docs/OPERATING.md'))
    for (const { alert, annotations, labels } of rules) {
      assert.equal(annotations.runbook, `docs/OPERATING.md#${alert.toLowerCase()}`)
      assert.ok(anchors.has(alert.toLowerCase()), alert)
      assert.match(labels.severity, /^(critical|warning|info)$/)
      assert.ok(annotations.summary.length > 10)
    }
    const described = [...anchors].filter((anchor) => /^understudy[a-z]+$/.test(anchor))
    assert.deepEqual(described.sort(), rules.map((rule) => rule.alert.toLowerCase()).sort())
  })

  test('promtool accepts the rules and the example, and the rules raise what they should', {
    skip: promtool.missing,
  }, () => {
    const directory = dirname(pathOf('deploy/prometheus/alerts.yaml'))
    for (const args of [
      ['check', 'rules', `${directory}/alerts.yaml`],
      ['check', 'config', `${directory}/prometheus.yaml`],
      ['test', 'rules', `${directory}/alerts-test.yaml`],
    ]) {
      assert.equal(checkWithPromtool(args, ''), '')
    }
  })

  test('promtool reads every expression of the dashboard', { skip: promtool.missing }, async () => {
    const expressions = dashboard.panels
      .flatMap((panel) => panel.targets ?? [])
      .map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, 'x'))
    const record = expressions.map((expr, index) => ({ record: `dashboard:${index}`, expr }))
    const directory = await makeDirectory()
    try {
      const file = join(directory, 'dashboard.json')
      // JSON is YAML.
      await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: record }] }))
      assert.equal(checkWithPromtool(['check', 'rules', file], ''), '')
    } finally {
      await removeDirectory(directory)
    }
  })
})
