import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { UnderstudyError } from '../errors.js'

export type Ping = (url: URL, options: { readonly timeoutMs: number; readonly signal: AbortSignal }) => Promise<void>

/**
 * One GET without a body, credentials or anything else of this node; the answer's status is all that is read. Follows
 * no redirect: whoever answers elsewhere is not who was configured. Certificates are verified as Node.js does.
 */
export const httpPing: Ping = (url, { timeoutMs, signal }) =>
  new Promise((resolve, reject) => {
    const ending = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send(url, { method: 'GET', agent: false, signal: ending, headers: { 'User-Agent': 'understudy' } })
    request.on('response', (response) => {
      const status = response.statusCode ?? 0
      // What it says is of no interest, however long it is.
      response.destroy()
      if (status >= 200 && status < 300) resolve()
      else reject(new UnderstudyError('UNAVAILABLE', `answered with status ${status}`))
    })
    request.on('error', (error) => {
      if (signal.aborted) reject(new UnderstudyError('ABORTED', 'the ping was aborted'))
      else if (ending.aborted) reject(new UnderstudyError('TIMEOUT', `no answer within ${timeoutMs} ms`))
      else reject(new UnderstudyError('UNAVAILABLE', error.message, { cause: error }))
    })
    request.end()
  })
