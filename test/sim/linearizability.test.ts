import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { checkLinearizability } from '#src/sim/linearizability.js'
import type { RegisterOperation, RegisterOutcome } from '#src/sim/register-history.js'

/** `put x 0 10`: kind, value (`-`: nothing), called, returned; `!` failed for certain, `?` unknown. */
function historyOf(text: string, key = 'k'): RegisterOperation[] {
  return text
    .trim()
    .split('\n')
    .map((line, index) => {
      const [kind, value, calledMs, returnedMs, mark] = line.trim().split(/\s+/)
      const outcome: RegisterOutcome = mark === '!' ? 'none' : mark === '?' ? 'unknown' : 'ok'
      return {
        key,
        client: `client ${index}`,
        kind: kind as RegisterOperation['kind'],
        value: value === '-' ? undefined : value,
        calledMs: Number(calledMs),
        returnedMs: Number(returnedMs),
        outcome,
      }
    })
}

const good: Readonly<Record<string, string>> = {
  'one after the other': `
    get - 0 1
    put a 2 3
    get a 4 5
    put b 6 7
    get b 8 9
    del - 10 11
    get - 12 13`,
  'a read beside a write sees the old value': `
    put a 0 1
    put b 2 10
    get a 3 4`,
  'a read beside a write sees the new value, and so do all later ones': `
    put a 0 1
    put b 2 10
    get b 3 4
    get b 5 6`,
  'two writes beside each other, read in one order': `
    put a 0 10
    put b 0 10
    get b 11 12
    get b 13 14`,
  'an unknown write that was never seen': `
    put a 0 1
    put b 2 3 ?
    get a 4 5
    get a 100 101`,
  'an unknown write that takes effect long after': `
    put a 0 1
    put b 2 3 ?
    get a 4 5
    get b 100 101
    get b 102 103`,
  'an unknown write that takes effect after a later write': `
    put a 0 1
    put b 2 3 ?
    put c 4 5
    get c 6 7
    get b 8 9`,
  'an unknown deletion': `
    put a 0 1
    del - 2 3 ?
    get a 4 5
    get - 6 7`,
  'a failed write that nobody sees': `
    put a 0 1
    put b 2 3 !
    get a 4 5`,
  'a read that got no answer says nothing': `
    put a 0 1
    get z 2 3 ?
    get z 2 3 !
    get a 4 5`,
  'a return and a call in the same instant are beside each other': `
    put a 0 1
    put b 2 5
    get a 5 6`,
}

const bad: Readonly<Record<string, { readonly history: string; readonly smallest: number }>> = {
  'a stale read': {
    history: `
    put a 0 1
    put b 2 3
    put x 4 5
    del - 6 7
    put c 8 9
    get b 10 11
    get c 12 13`,
    smallest: 3,
  },
  'a lost acknowledged write: nothing is there': {
    history: `
    put a 0 1
    get - 2 3`,
    smallest: 2,
  },
  'a lost acknowledged write: the one before is back': {
    history: `
    put a 0 1
    put b 2 3
    get a 4 5`,
    smallest: 3,
  },
  'a lost acknowledged deletion': {
    history: `
    put a 0 1
    del - 2 3
    get a 4 5`,
    smallest: 3,
  },
  'a read of a write that failed for certain': {
    history: `
    put a 0 1
    put b 2 3 !
    get b 4 5`,
    smallest: 2,
  },
  'a read of something that was never written': {
    history: `
    put a 0 1
    get z 4 5`,
    smallest: 1,
  },
  'a resurrected value': {
    history: `
    put a 0 1
    put b 2 3
    get b 4 5
    get a 6 7
    get b 8 9`,
    smallest: 3,
  },
  'a value that comes back after its deletion was seen': {
    history: `
    put a 0 1
    del - 2 9 ?
    get - 3 4
    get a 5 6`,
    smallest: 4,
  },
  'reads that go back beside one write': {
    history: `
    put a 0 1
    put b 2 20
    get b 3 4
    get a 5 6`,
    smallest: 4,
  },
  'a read from the future': {
    history: `
    get a 0 1
    put a 2 3`,
    smallest: 2,
  },
  'two readers that disagree on the order of two writes': {
    history: `
    put a 0 10
    put b 0 10
    get a 11 12
    get b 13 14`,
    smallest: 4,
  },
  'an unknown write that is undone again': {
    history: `
    put a 0 1
    put b 2 3 ?
    get b 4 5
    get a 6 7`,
    smallest: 4,
  },
  'an unknown write that takes effect before its call': {
    history: `
    put a 0 1
    get b 2 3
    put b 4 5 ?`,
    smallest: 2,
  },
  'an unknown write that takes effect twice': {
    history: `
    put a 0 1
    put b 2 3 ?
    get b 4 5
    put c 6 7
    get c 8 9
    get b 10 11`,
    smallest: 4,
  },
}

describe('linearizability of registers', () => {
  for (const [name, text] of Object.entries(good)) {
    test(`accepted: ${name}`, () => {
      const result = checkLinearizability(historyOf(text))
      assert.equal(result.verdict, 'linearizable', result.violation?.text)
      assert.equal(result.keys, 1)
    })
  }

  for (const [name, { history, smallest }] of Object.entries(bad)) {
    test(`I7: found: ${name}`, () => {
      const { verdict, violatedKeys, violation } = checkLinearizability(historyOf(history))
      assert.equal(verdict, 'violated')
      assert.deepEqual(violatedKeys, ['k'])
      assert.ok(violation !== undefined)
      assert.ok(violation.history.length <= smallest, `no more than ${smallest}:\n${violation.text}`)
      assert.equal(checkLinearizability(violation.history).verdict, 'violated', 'what is left contradicts itself')
    })
  }

  test('each key is judged alone, and the shortest contradiction is shown for people', () => {
    const { verdict, keys, violatedKeys, violation } = checkLinearizability([
      ...historyOf(good['one after the other']!, 'sound'),
      ...historyOf(bad['reads that go back beside one write']!.history, 'long'),
      ...historyOf(bad['a lost acknowledged write: nothing is there']!.history, 'short'),
    ])
    assert.equal(verdict, 'violated')
    assert.equal(keys, 3)
    assert.deepEqual([...violatedKeys].sort(), ['long', 'short'])
    assert.equal(violation?.key, 'short')
    assert.match(
      violation.text,
      /^key short, which held nothing .*\n0\.00 \.\. 1\.00 +client 0 +put a\n2\.00 \.\. 3\.00 +client 1 +get -> nothing$/,
    )
  })

  test('what a key held before is given by the caller', () => {
    const history = historyOf('get a 0 1')
    assert.equal(checkLinearizability(history, { initial: () => 'a' }).verdict, 'linearizable')
    assert.equal(checkLinearizability(history).verdict, 'violated')
  })

  test('F46: a search beyond its limit is undecided, never accepted', () => {
    // Many writes beside each other, and reads that need one certain order of them.
    const writes = Array.from({ length: 12 }, (_, index) => `put w${index} 0 100`)
    const reads = Array.from({ length: 12 }, (_, index) => `get w${11 - index} ${2 * index} ${2 * index + 1}`)
    const history = historyOf([...writes, ...reads].join('\n'))
    assert.equal(checkLinearizability(history).verdict, 'linearizable')
    const limited = checkLinearizability(history, { configurationsMax: 5 })
    assert.equal(limited.verdict, 'undecided')
    assert.deepEqual(limited.undecidedKeys, ['k'])
    // A contradiction elsewhere is told all the same.
    const both = [...history, ...historyOf('put a 0 1\nget - 2 3', 'other')]
    assert.equal(checkLinearizability(both, { configurationsMax: 5 }).verdict, 'violated')
  })

  test('a long history of many clients with failovers in it is decided quickly', () => {
    // Ten thousand operations on one key, sixteen at a time, every hundredth without an answer.
    const history: RegisterOperation[] = []
    let value: string | undefined
    for (let index = 0; index < 10_000; index++) {
      const calledMs = index
      const returnedMs = index + 16
      const client = `client ${index % 16}`
      if (index % 3 === 0) {
        const unknown = index % 100 === 0
        const written = `v${index}`
        if (!unknown || index % 200 === 0) value = written
        history.push({
          key: 'k',
          client,
          kind: 'put',
          value: written,
          calledMs,
          returnedMs,
          outcome: unknown ? 'unknown' : 'ok',
        })
      } else history.push({ key: 'k', client, kind: 'get', value, calledMs, returnedMs, outcome: 'ok' })
    }
    const { verdict, violation } = checkLinearizability(history)
    assert.equal(verdict, 'linearizable', violation?.text)
  })

  test('agrees with a search of all orders on small histories', () => {
    let violated = 0
    let linearizable = 0
    fc.assert(
      fc.property(smallHistory, (history) => {
        const { verdict, violation } = checkLinearizability(history)
        const expected = explains(history, undefined) ? 'linearizable' : 'violated'
        if (expected === 'violated') violated += 1
        else linearizable += 1
        assert.equal(verdict, expected)
        if (violation !== undefined) {
          assert.ok(!explains([...violation.history], undefined), 'what is left contradicts itself')
        }
      }),
      { numRuns: 4_000 },
    )
    assert.ok(violated > 400 && linearizable > 400, `both kinds were tried: ${violated} and ${linearizable}`)
  })
})

const smallHistory = fc
  .array(
    fc.record({
      kind: fc.constantFrom('get' as const, 'get' as const, 'put' as const, 'put' as const, 'del' as const),
      /** Of a get: which of the puts it returns; beyond them nothing. */
      of: fc.integer({ min: 0, max: 5 }),
      calledMs: fc.integer({ min: 0, max: 12 }),
      tookMs: fc.integer({ min: 0, max: 6 }),
      outcome: fc.constantFrom('ok' as const, 'ok' as const, 'ok' as const, 'unknown' as const, 'none' as const),
    }),
    { minLength: 1, maxLength: 7 },
  )
  .map((steps): RegisterOperation[] => {
    const puts = steps.flatMap(({ kind }, index) => (kind === 'put' ? [`v${index}`] : []))
    return steps.map(({ kind, of, calledMs, tookMs, outcome }, index) => ({
      key: 'k',
      client: `client ${index}`,
      kind,
      value: kind === 'put' ? `v${index}` : kind === 'get' ? puts[of] : undefined,
      calledMs,
      returnedMs: calledMs + tookMs,
      outcome,
    }))
  })

/** All orders of all choices of what happened. */
function explains(left: readonly RegisterOperation[], value: string | undefined): boolean {
  const open = left.filter(({ outcome }) => outcome !== 'none')
  if (open.every(({ outcome }) => outcome === 'unknown')) return true
  return open.some((operation) => {
    const { kind, outcome, calledMs } = operation
    const others = open.filter((other) => other !== operation)
    if (others.some((other) => other.outcome === 'ok' && other.returnedMs < calledMs)) return false
    if (kind === 'get' && outcome === 'ok' && operation.value !== value) return false
    return explains(others, kind === 'get' ? value : operation.value)
  })
}
