import { request as requestHttp } from 'node:http'
import { type RequestOptions, request as requestHttps } from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import { parseAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import type { NodeStatus } from '../runtime/handle.js'
import type { PeerAnswer } from './live-picture.js'

export interface PeerAddress {
  readonly node: string
  readonly address: string
}

/** How another node is asked. */
export interface PeerAccess {
  readonly authorization: string | undefined
  /** Undefined: the cluster speaks plain text. */
  readonly tls: ConnectionOptions | undefined
}

interface Told {
  readonly atMs: number
  readonly address: string
  readonly status?: NodeStatus
  readonly error?: string
}

/**
 * What the other members say of themselves, asked only while somebody looks. One question at a time is under way to
 * each, so that a node that hangs costs one connection and delays nobody.
 */
export class PeerStatuses {
  private readonly cluster: string
  private readonly told = new Map<string, Told>()
  private readonly underWay = new Map<string, Promise<void>>()

  constructor(cluster: string) {
    this.cluster = cluster
  }

  /** Asks everybody whom nothing is being asked. */
  ask(peers: readonly PeerAddress[], access: PeerAccess): void {
    for (const peer of peers) {
      if (this.underWay.has(peer.node)) continue
      const asked = this.askOne(peer, access).finally(() => this.underWay.delete(peer.node))
      this.underWay.set(peer.node, asked)
    }
    for (const node of this.told.keys()) {
      if (!peers.some((peer) => peer.node === node)) this.told.delete(node)
    }
  }

  /** Resolves when all that were asked have answered or are too late. */
  async settled(): Promise<void> {
    await Promise.all(this.underWay.values())
  }

  answers(peers: readonly PeerAddress[]): readonly PeerAnswer[] {
    const nowMs = performance.now()
    return peers.map(({ node, address }) => {
      const told = this.told.get(node)
      if (told === undefined || told.address !== address) return { node, address, error: 'not asked yet' }
      const { status, error } = told
      if (error !== undefined) return { node, address, error }
      const isRecent = nowMs - told.atMs < limits.pictureIntervalMs + 2 * limits.picturePeerTimeoutMs
      return isRecent && status !== undefined ? { node, address, status } : { node, address, error: 'no recent answer' }
    })
  }

  private async askOne({ node, address }: PeerAddress, access: PeerAccess): Promise<void> {
    const atMs = performance.now()
    try {
      const status = await fetchStatus(address, access)
      if (status.cluster !== this.cluster || status.node !== node) {
        throw new Error(`node ${status.node} of cluster ${status.cluster} answers at ${address}`)
      }
      this.told.set(node, { atMs, address, status })
    } catch (error) {
      this.told.set(node, { atMs, address, error: (error as Error).message })
    }
  }
}

function fetchStatus(address: string, { authorization, tls }: PeerAccess): Promise<NodeStatus> {
  const parsed = parseAddress(address)
  if (parsed === undefined) return Promise.reject(new Error(`${address} is no address`))
  return new Promise((resolve, reject) => {
    const options: RequestOptions = {
      host: parsed.host,
      port: parsed.port,
      path: '/v1/status',
      headers: { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) },
      signal: AbortSignal.timeout(limits.picturePeerTimeoutMs),
      ...tls,
    }
    const sent = (tls === undefined ? requestHttp : requestHttps)(options, (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('error', reject)
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > limits.picturePeerBytesMax) response.destroy(new Error('its answer is too long'))
        else parts.push(part)
      })
      response.on('end', () => {
        try {
          const body = JSON.parse(Buffer.concat(parts).toString()) as NodeStatus & { readonly message?: string }
          if (response.statusCode === 200) resolve(body)
          else reject(new Error(body.message ?? `it answered ${response.statusCode}`))
        } catch {
          reject(new Error(`it answered ${response.statusCode} without JSON`))
        }
      })
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.name === 'AbortError' ? new Error('no answer in time') : new Error(reasonOf(error)))
    })
    sent.end()
  })
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'nothing listens there'
  return error.name === 'TimeoutError' ? 'no answer in time' : error.message
}
