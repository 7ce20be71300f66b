import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'

// Keys and values are copied when a write is called: like in other databases the caller may use its memory again at
// once, while a write waits for its block.

export function putOperation(family: number, key: Uint8Array, value: Uint8Array): Operation {
  assertKey(key)
  if (value.length > limits.valueBytesMax) tooLarge('value', value.length, limits.valueBytesMax)
  return { type: 'put', family, key: Buffer.from(key), value: Buffer.from(value) }
}

export function delOperation(family: number, key: Uint8Array): Operation {
  assertKey(key)
  return { type: 'del', family, key: Buffer.from(key) }
}

export function assertBatch(operations: readonly Operation[]): void {
  if (operations.length > limits.batchOperationsMax) {
    throw new UnderstudyError(
      'LIMIT_EXCEEDED',
      `a batch of ${operations.length} operations; at most ${limits.batchOperationsMax} are possible`,
      { hint: 'write it in several batches, each of which is atomic' },
    )
  }
  let total = 0
  for (const operation of operations) {
    if (operation.type === 'put') total += operation.key.length + operation.value.length
    else if (operation.type === 'del') total += operation.key.length
  }
  if (total > limits.batchBytesMax) tooLarge('batch', total, limits.batchBytesMax)
}

function assertKey(key: Uint8Array): void {
  if (key.length > limits.keyBytesMax) tooLarge('key', key.length, limits.keyBytesMax)
}

function tooLarge(what: 'key' | 'value' | 'batch', found: number, most: number): never {
  throw new UnderstudyError('LIMIT_EXCEEDED', `a ${what} of ${found} bytes; at most ${most} are possible`, {
    hint:
      what === 'batch'
        ? 'write it in several batches, each of which is atomic'
        : `keep it elsewhere and store a reference, or split it over several keys`,
  })
}
