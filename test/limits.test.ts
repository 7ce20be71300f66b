import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '#src/core/limits.js'

test('limits are positive', () => {
  for (const [name, value] of Object.entries(limits)) assert.ok(value > 0, name)
})
