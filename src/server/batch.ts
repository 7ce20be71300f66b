import type { Family, Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { badRequest } from './http-error.js'
import { asObject, parseJson, refuseOtherKeys } from './json-body.js'
import { checkKey, familyId } from './request.js'

const example = '[{"type":"put","key":"k","value":"v"},{"type":"del","key":"old"}]'
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const loneSurrogate = /\p{Surrogate}/u

/** The whole body is checked before anything is done with it: a batch is taken or refused as one. */
export function parseBatch(body: Buffer, families: readonly Family[]): Operation[] {
  const list = parseJson(body, example)
  if (!Array.isArray(list)) throw badRequest('the body must be a JSON array of operations', `for example ${example}`)
  if (list.length === 0) throw badRequest('the batch is empty', `for example ${example}`)
  if (list.length > limits.batchOperationsMax) {
    const message = `${list.length} operations; at most ${limits.batchOperationsMax} in a batch`
    throw new UnderstudyError('LIMIT_EXCEEDED', message)
  }
  let total = 0
  return list.map((item, index) => {
    const operation = parseOperation(item, `operation ${index}`, families)
    total += operation.key.length + (operation.type === 'put' ? operation.value.length : 0)
    if (total > limits.batchBytesMax) {
      const message = `keys and values of the batch pass ${limits.batchBytesMax} bytes at operation ${index}`
      throw new UnderstudyError('LIMIT_EXCEEDED', message)
    }
    return operation
  })
}

function parseOperation(
  item: unknown,
  what: string,
  families: readonly Family[],
): Extract<Operation, { type: 'put' | 'del' }> {
  const object = asObject(item, what)
  const { type, family: familyName } = object
  if (type !== 'put' && type !== 'del') throw badRequest(`${what}: "type" must be "put" or "del"`)
  refuseOtherKeys(
    object,
    type === 'put'
      ? ['type', 'key', 'keyBase64', 'value', 'valueBase64', 'family']
      : ['type', 'key', 'keyBase64', 'family'],
    what,
  )
  if (familyName !== undefined && typeof familyName !== 'string') throw badRequest(`${what}: "family" must be text`)
  const family = familyName === undefined ? 0 : familyId(familyName, families)
  const key = bytesOf(object, 'key', what)
  checkKey(key, `${what}: the key`)
  if (type === 'del') return { type, family, key }
  const value = bytesOf(object, 'value', what)
  if (value.length > limits.valueBytesMax) {
    const message = `${what}: the value has ${value.length} bytes; at most ${limits.valueBytesMax}`
    throw new UnderstudyError('LIMIT_EXCEEDED', message)
  }
  return { type, family, key, value }
}

/** `name` as text or `nameBase64` as bytes, exactly one of them. */
function bytesOf(object: Record<string, unknown>, name: 'key' | 'value', what: string): Buffer {
  const text = object[name]
  const encoded = object[`${name}Base64`]
  if ((text === undefined) === (encoded === undefined)) {
    throw badRequest(`${what}: exactly one of "${name}" and "${name}Base64" is needed`)
  }
  if (encoded !== undefined) {
    if (typeof encoded === 'string' && base64.test(encoded)) return Buffer.from(encoded, 'base64')
    throw badRequest(`${what}: "${name}Base64" must be base64 with its padding`)
  }
  if (typeof text !== 'string') throw badRequest(`${what}: "${name}" must be text`)
  // Encoded as UTF-8 half a surrogate pair would silently become another key.
  if (loneSurrogate.test(text)) throw badRequest(`${what}: "${name}" is not valid Unicode`, `use "${name}Base64"`)
  return Buffer.from(text)
}
