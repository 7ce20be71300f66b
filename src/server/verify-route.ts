import { isUtf8 } from 'node:buffer'
import { PassThrough } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { limits } from '../core/limits.js'
import { formatPosition } from '../core/position.js'
import type { NodeHandle } from '../runtime/handle.js'
import type { VerifyOptions, VerifyResult } from '../runtime/verify-report.js'
import { badRequest, toHttpError } from './http-error.js'
import { asObject, parseJson, refuseOtherKeys } from './json-body.js'
import { bodyOf, parseQuery, shardParameter } from './request.js'
import { access } from './route-access.js'

const ndjson = 'application/x-ndjson'

/**
 * Answers when the comparison is over; to who accepts NDJSON, with lines of progress before. Ends it when the client
 * goes away. Differences are a result, not an error: 409 means that nothing could be compared.
 */
export function addVerifyRoute(app: FastifyInstance, node: () => NodeHandle): void {
  app.post('/v1/verify', { bodyLimit: limits.httpControlBodyBytesMax, ...access('admin') }, async (request, reply) => {
    const query = parseQuery(request, ['shard'])
    const options = optionsOf(request)
    const shard = node().shard(shardParameter(query))
    const gone = new AbortController()
    const onClose = (): void => gone.abort()
    const { socket } = request.raw
    socket.once('close', onClose)
    const work = (onProgress?: VerifyOptions['onProgress']): Promise<VerifyResult> =>
      shard
        .verify({ ...options, signal: gone.signal, ...(onProgress === undefined ? {} : { onProgress }) })
        .finally(() => socket.off('close', onClose))
    if (request.headers.accept?.includes(ndjson) !== true) return verifiedAsJson(await work())
    return reply.type(ndjson).send(await streamed(work))
  })
}

/** The stream begins with the comparison: what cannot begin is answered with a status of its own. */
function streamed(work: (onProgress: NonNullable<VerifyOptions['onProgress']>) => Promise<VerifyResult>) {
  const lines = new PassThrough()
  const write = (line: unknown): boolean => lines.write(`${JSON.stringify(line)}\n`)
  return new Promise<PassThrough>((resolve, reject) => {
    let hasBegun = false
    const begin = (): void => {
      hasBegun = true
      resolve(lines)
    }
    work((progress) => {
      if (progress.phase === 'waiting') return
      begin()
      // Who does not read gets the result all the same, but no news on the way.
      if (!lines.writableNeedDrain) write({ type: 'progress', ...progress })
    }).then(
      (result) => {
        begin()
        write({ type: 'result', ...verifiedAsJson(result) })
        lines.end()
      },
      (error: unknown) => {
        if (!hasBegun) return reject(error)
        write({ type: 'error', error: toHttpError(error).error })
        lines.end()
      },
    )
  })
}

export function verifiedAsJson(result: VerifyResult): Record<string, unknown> {
  const { position, nodes, differences } = result
  return {
    ...result,
    position: position === undefined ? null : formatPosition(position),
    nodes: nodes.map(({ failure, ...node }) => ({
      ...node,
      ...(failure === undefined ? {} : { failure: { code: `UNDERSTUDY_${failure.code}`, message: failure.message } }),
    })),
    differences: differences.map(({ key, ...difference }) => ({ ...difference, ...keyField(key) })),
  }
}

/** Text where the bytes are UTF-8, base64 under another name where they are not, as in ranges. */
function keyField(key: Uint8Array | undefined): Record<string, string> {
  if (key === undefined) return {}
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return isUtf8(bytes) ? { key: bytes.toString() } : { keyBase64: bytes.toString('base64') }
}

function optionsOf(request: FastifyRequest): VerifyOptions {
  const body = bodyOf(request)
  const object = body.length === 0 ? {} : asObject(parseJson(body, '{"differencesMax":10}'), 'the body')
  const bounds = {
    maxBytesPerSecond: [limits.verifyBytesPerSecondMin, Number.MAX_SAFE_INTEGER],
    differencesMax: [1, limits.verifyDifferencesMax],
    timeoutMs: [1, limits.writeTimeoutMsMax],
  } as const
  refuseOtherKeys(object, Object.keys(bounds), 'the body')
  for (const [name, [min, max]] of Object.entries(bounds)) {
    const value = object[name]
    if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max)) {
      continue
    }
    throw badRequest(`"${name}" must be an integer from ${min} to ${max}`)
  }
  return object as VerifyOptions
}
