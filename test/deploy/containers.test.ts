/** Examples of deployments: what they configure is a configuration of this release, and they stop as nodes need it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import { checkConfig } from '#src/config/check-config.js'
import { limits } from '#src/core/limits.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { FakeNode } from '../support/fake-node.js'
import { withServer } from '../support/fake-server.js'

const pathOf = (name: string) => fileURLToPath(new URL(`../../../deploy/${name}`, import.meta.url))
const textOf = (name: string) => readFileSync(pathOf(name), 'utf8')

/** Problems of these variables, but for the file with the secret, which is not on this machine. */
function problemsOf(env: Readonly<Record<string, string>>): string[] {
  const { UNDERSTUDY_SECRET_FILE, ...rest } = env
  assert.ok(UNDERSTUDY_SECRET_FILE !== undefined, 'a secret is configured')
  const { problems } = checkConfig({ env: { ...rest, UNDERSTUDY_SECRET: 'for-this-test' } })
  return problems.map(({ path, message }) => `${path}: ${message}`)
}

/** What a clean stop may take: a switchover, leaving the set, requests under way. */
const stopMsMax = 4 * limits.failoverMs + limits.peerSilenceMs + limits.closeTimeoutMs

interface Service {
  readonly image: string
  readonly environment?: Readonly<Record<string, string>>
  readonly stop_grace_period?: string
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
}

interface Container {
  readonly env: ReadonlyArray<{
    readonly name: string
    readonly value?: string
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } }
  }>
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } }
  readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
  readonly volumeMounts: ReadonlyArray<{ readonly name: string; readonly mountPath: string }>
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } }
}

describe('deploy: compose.yaml', () => {
  const compose = parse(textOf('compose.yaml'), { merge: true }) as {
    readonly services: Readonly<Record<string, Service>>
    readonly volumes: Readonly<Record<string, unknown>>
  }

  test('has three nodes and an etcd; each node has a configuration without problems and a volume of its own', () => {
    const { etcd, ...nodes } = compose.services
    assert.match(etcd!.image, /etcd:v3\./)
    assert.deepEqual(Object.keys(nodes), ['a', 'b', 'c'])
    for (const [name, { environment, volumes, ports, stop_grace_period }] of Object.entries(nodes)) {
      assert.equal(environment?.UNDERSTUDY_NODE, name)
      assert.equal(environment?.UNDERSTUDY_ADVERTISE, `${name}:7400`)
      assert.deepEqual(problemsOf({ ...environment, UNDERSTUDY_DATA: '/var/lib/understudy' }), [])
      assert.deepEqual(volumes, [`${name}:/var/lib/understudy`])
      assert.ok(name in compose.volumes)
      // Tried out on one machine: nobody else reaches it.
      for (const port of ports ?? []) assert.match(port, /^127\.0\.0\.1:74\d\d:7400$/)
      assert.ok(Number.parseInt(stop_grace_period ?? '0', 10) * 1000 > stopMsMax)
    }
  })
})

describe('deploy: Dockerfile', () => {
  const lines = textOf('Dockerfile')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const last = (instruction: string) => lines.findLast((line) => line.startsWith(`${instruction} `))

  test('runs the packed program as nobody in particular, on a volume, and hears SIGTERM itself', () => {
    assert.equal(last('USER'), 'USER node')
    assert.equal(last('ENTRYPOINT'), 'ENTRYPOINT ["understudy"]')
    assert.equal(last('CMD'), 'CMD ["serve"]')
    assert.equal(last('VOLUME'), 'VOLUME /var/lib/understudy')
    assert.equal(last('EXPOSE'), 'EXPOSE 7400')
    assert.ok(lines.some((line) => /npm pack/.test(line)))
    const { bin } = JSON.parse(readFileSync(pathOf('../package.json'), 'utf8')) as { bin: Record<string, string> }
    assert.ok(bin.understudy !== undefined)
  })

  test('what stays out of an image is listed', () => {
    const ignored = readFileSync(pathOf('../.dockerignore'), 'utf8').trim().split('\n')
    for (const name of ['.git', 'node_modules', 'dist', 'build', '**/secret.txt'])
      assert.ok(ignored.includes(name), name)
  })
})

describe('deploy: kubernetes.yaml', () => {
  const documents = parseAllDocuments(textOf('kubernetes.yaml')).map((document) => {
    assert.deepEqual(document.errors, [])
    return document.toJS() as { readonly kind: string; readonly metadata: { name: string }; readonly spec: never }
  })
  const of = <T>(kind: string, name = 'understudy') =>
    documents.find((document) => document.kind === kind && document.metadata.name === name)?.spec as T | undefined
  const set = of<{
    readonly serviceName: string
    readonly replicas: number
    readonly podManagementPolicy: string
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> }
      readonly spec: { readonly terminationGracePeriodSeconds: number; readonly containers: readonly Container[] }
    }
    readonly volumeClaimTemplates: ReadonlyArray<{ readonly metadata: { readonly name: string } }>
  }>('StatefulSet')!
  const container = set.template.spec.containers[0]!

  test('each pod has a configuration without problems, and the address of its own name', () => {
    const env: Record<string, string> = {}
    for (const { name, value, valueFrom } of container.env) {
      const text = value ?? (valueFrom?.fieldRef.fieldPath === 'metadata.name' ? 'understudy-2' : undefined)
      assert.ok(text !== undefined, name)
      env[name] = text.replaceAll(/\$\((\w+)\)/g, (_all, other: string) => env[other] ?? `undefined ${other}`)
    }
    assert.deepEqual(problemsOf(env), [])
    assert.equal(env.UNDERSTUDY_ADVERTISE, `understudy-2.${set.serviceName}:7400`)
    const nodes = of<{ clusterIP: string; publishNotReadyAddresses: boolean }>('Service', set.serviceName)
    assert.deepEqual([nodes?.clusterIP, nodes?.publishNotReadyAddresses], ['None', true])
    const claims = set.volumeClaimTemplates.map((claim) => claim.metadata.name)
    const mount = container.volumeMounts.find((one) => claims.includes(one.name))
    assert.ok(mount !== undefined && env.UNDERSTUDY_DATA?.startsWith(mount.mountPath))
  })

  test('nodes start together, and one at a time may be away', () => {
    assert.equal(set.replicas, 3)
    assert.equal(set.podManagementPolicy, 'Parallel')
    const budget = of<{ maxUnavailable: number; selector: unknown }>('PodDisruptionBudget')
    assert.equal(budget?.maxUnavailable, 1)
    assert.deepEqual(budget?.selector, set.selector)
    assert.deepEqual(set.template.metadata.labels, set.selector.matchLabels)
  })

  test('a pod has time for a switchover, after clients have heard that it goes', () => {
    const [command, seconds] = container.lifecycle.preStop.exec.command
    assert.equal(command, 'sleep')
    assert.ok(set.template.spec.terminationGracePeriodSeconds * 1000 > Number(seconds) * 1000 + stopMsMax)
  })

  test('probes ask for paths that are there, without a secret', async () => {
    await withServer(async ({ ask, node }) => {
      assert.ok(node instanceof FakeNode)
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const) {
        const { path, port } = container[probe]!.httpGet
        assert.equal(port, container.ports[0]!.name)
        assert.equal((await ask(path, { headers: {} })).status, 200, path)
      }
    })
  })
})

describe('deploy: understudy.service', () => {
  test('gives a primary the time to hand over, and does not try a wrong configuration again', () => {
    const unit = textOf('understudy.service')
    const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1]
    assert.ok(Number(value('TimeoutStopSec')) * 1000 > stopMsMax)
    assert.equal(value('RestartPreventExitStatus'), '2 5')
    assert.equal(value('KillMode'), 'mixed')
    // Code is compiled while it runs.
    assert.equal(value('MemoryDenyWriteExecute'), undefined)
  })

  test('systemd accepts it', {
    skip: existsSync('/usr/bin/systemd-analyze') ? false : 'systemd is not installed',
  }, async () => {
    const directory = await makeDirectory()
    try {
      const copy = join(directory, 'understudy.service')
      copyFileSync(pathOf('understudy.service'), copy)
      const run = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' })
      assert.equal(`${run.stdout}${run.stderr}`.replaceAll(/^.*(?:Failed to|Cannot) .*bus.*$/gm, '').trim(), '')
      assert.equal(run.status, 0)
    } finally {
      await removeDirectory(directory)
    }
  })
})
