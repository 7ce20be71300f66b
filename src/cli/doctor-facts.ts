/** What `understudy doctor` looks at: nodes, certificates, the coordinator's machines, and the disk beside it. */
import { X509Certificate } from 'node:crypto'
import { mkdtemp, open, readFile, rm, statfs } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { connect as tlsConnect } from 'node:tls'
import { parseCoordinator } from '../config/coordinator.js'
import { parseAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { ClusterPicture } from './cluster-picture.js'
import type { CertificateFact, EndpointFact, LocalFacts, NodeMeasures } from './doctor-checks.js'
import { askRaw, type NodeAddress } from './node-client.js'

const syncs = 100
const syncBytes = 4096
const syncBudgetMs = 5_000

export async function measureNodes(picture: ClusterPicture, first: NodeAddress): Promise<NodeMeasures[]> {
  return Promise.all(
    picture.nodes
      .filter(({ status }) => status !== undefined)
      .map(async ({ node, url }): Promise<NodeMeasures> => {
        const unknown = { node, answerMs: undefined, clockOffsetMs: undefined }
        try {
          const startMs = performance.now()
          const wallMs = Date.now()
          const answer = await askRaw({ ...first, url }, '/metrics')
          const answerMs = performance.now() - startMs
          return {
            node,
            answerMs,
            clockOffsetMs: offsetOf(answer.headers.date, wallMs + answerMs / 2),
            ...metricsOf(answer.text),
          }
        } catch (error) {
          if (!(error instanceof UnderstudyError)) throw error
          return { ...unknown, flushMs: undefined, openFiles: undefined, openFilesMax: undefined }
        }
      }),
  )
}

/** A date has whole seconds: in the middle of that second the node was asked, give or take a half. */
function offsetOf(date: string | undefined, askedMs: number): number | undefined {
  const there = date === undefined ? Number.NaN : Date.parse(date)
  if (Number.isNaN(there)) return undefined
  const offset = there + 500 - askedMs
  return Math.abs(offset) <= 1000 ? 0 : offset
}

export function metricsOf(text: string): Pick<NodeMeasures, 'flushMs' | 'openFiles' | 'openFilesMax'> {
  const sum = (name: string): number | undefined => {
    let total: number | undefined
    for (const line of text.split('\n')) {
      const match = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`).exec(line)
      if (match !== null) total = (total ?? 0) + Number(match[1])
    }
    return total
  }
  const count = sum('understudy_journal_flush_seconds_count') ?? 0
  const seconds = sum('understudy_journal_flush_seconds_sum')
  return {
    flushMs: seconds === undefined || count === 0 ? undefined : (seconds / count) * 1000,
    openFiles: sum('process_open_fds'),
    openFilesMax: sum('process_max_fds'),
  }
}

/** What the coordinator's URL names, asked for a connection from here. */
export function measureEndpoints(coordinatorUrl: string | undefined): Promise<EndpointFact[]> {
  const parsed = coordinatorUrl === undefined ? undefined : parseCoordinator(coordinatorUrl).coordinator
  const endpoints =
    parsed?.kind === 'etcd'
      ? parsed.endpoints
      : parsed?.kind === 'builtin'
        ? parsed.voters.map(({ address }) => address)
        : []
  return Promise.all(endpoints.map(measureEndpoint))
}

function measureEndpoint(endpoint: string): Promise<EndpointFact> {
  const address = parseAddress(endpoint)
  if (address === undefined) return Promise.resolve({ endpoint, connectMs: undefined, error: 'is no address' })
  return new Promise((resolve) => {
    const startMs = performance.now()
    const socket = connect({ host: address.host, port: address.port })
    const end = (error: string | undefined): void => {
      socket.destroy()
      resolve({ endpoint, connectMs: error === undefined ? performance.now() - startMs : undefined, error })
    }
    socket.setTimeout(limits.askTimeoutMs, () => end('does not answer'))
    socket.once('connect', () => end(undefined))
    socket.once('error', (error) => end(error.message))
  })
}

/** Certificates that nodes show, and those of the files that a configuration names. */
export async function findCertificates(
  picture: ClusterPicture | undefined,
  files: readonly string[],
): Promise<CertificateFact[]> {
  const urls = picture?.nodes.map(({ url }) => url).filter((url) => url.startsWith('https:')) ?? []
  const shown = await Promise.all(urls.map(certificateOf))
  const found = shown.flatMap((one) => (one === undefined ? [] : [one]))
  for (const file of files) {
    try {
      const { validTo } = new X509Certificate(await readFile(file))
      found.push({ where: file, validToMs: Date.parse(validTo) })
    } catch (error) {
      throw toUnderstudyError(error, `certificate ${file}`)
    }
  }
  return found
}

function certificateOf(url: string): Promise<CertificateFact | undefined> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    // Only its dates are read here; whether it is trusted is for the requests to say.
    const socket = tlsConnect({ host: hostname, port: Number(port || 443), rejectUnauthorized: false })
    const end = (fact: CertificateFact | undefined): void => {
      socket.destroy()
      resolve(fact)
    }
    socket.setTimeout(limits.askTimeoutMs, () => end(undefined))
    socket.once('secureConnect', () => {
      const { valid_to: validTo } = socket.getPeerCertificate()
      end(validTo === undefined ? undefined : { where: `the certificate of ${url}`, validToMs: Date.parse(validTo) })
    })
    socket.once('error', () => end(undefined))
  })
}

/** The disk that a data directory lies on. Writes a small file beside the data, and removes it. */
export async function measureLocal(directory: string): Promise<LocalFacts> {
  try {
    const { bavail, blocks, bsize } = await statfs(directory)
    return {
      directory,
      fsyncMs: await measureSync(directory),
      freeBytes: bavail * bsize,
      totalBytes: blocks * bsize,
      openFilesMax: await openFilesMax(),
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new UnderstudyError('CONFIG', `${directory}: there is no such directory`, { hint: 'check --data' })
    }
    throw toUnderstudyError(error, `looking at ${directory}`)
  }
}

async function measureSync(directory: string): Promise<LocalFacts['fsyncMs']> {
  const place = await mkdtemp(join(directory, 'doctor-'))
  try {
    const file = await open(join(place, 'probe'), 'wx')
    try {
      const bytes = Buffer.alloc(syncBytes, 0x5a)
      const times: number[] = []
      const endMs = performance.now() + syncBudgetMs
      while (times.length < syncs && performance.now() < endMs) {
        const startMs = performance.now()
        await file.write(bytes, 0, bytes.length, times.length * syncBytes)
        await file.datasync()
        times.push(performance.now() - startMs)
      }
      times.sort((a, b) => a - b)
      const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]!
      return { p50: at(0.5), p99: at(0.99) }
    } finally {
      await file.close()
    }
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

/** What a node started from here would get. Undefined where the system does not tell. */
async function openFilesMax(): Promise<number | undefined> {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'))
    return line === null ? undefined : Number(line[1])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
