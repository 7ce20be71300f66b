/** examples/move-from-level: a classic-level directory moved in, and out again, byte by byte. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { ClassicLevel } from 'classic-level'
import { open } from '#src/open.js'
import { ExampleProcess, withExample } from '../support/example.js'

const program = 'move-from-level.mjs'

test('everything comes along: bytes that are no text, empty values, sublevels, more than one batch', () =>
  withExample('move-from-level', ['classic-level'], async (directory) => {
    const [old, moved, back] = ['old', 'moved', 'back'].map((name) => join(directory, name))
    const level = new ClassicLevel<string, string>(old!)
    await level.put('plain', 'text')
    await level.put('empty', '')
    await level.put<Buffer, Buffer>(Buffer.from([0, 255, 254]), Buffer.from([1, 0, 255]), {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    })
    await level.sublevel<string, object>('users', { valueEncoding: 'json' }).put('ada', { name: 'Ada' })
    const big = randomBytes(700_000)
    for (let index = 0; index < 5; index++) {
      await level.put<string, Buffer>(`big${index}`, big, { valueEncoding: 'buffer' })
    }
    const content = await level.iterator({ keyEncoding: 'hex', valueEncoding: 'hex' }).all()
    await level.close()

    const run = async (...args: string[]) => {
      const child = new ExampleProcess(directory, [program, ...args])
      return { code: await child.end(), output: child.output }
    }
    const first = await run(old!, moved!)
    assert.equal(first.code, 0, first.output)
    assert.match(first.output, /^9 entries moved/)
    // Again, as after a crash.
    assert.equal((await run(old!, moved!)).code, 0)

    const db = await open<string, string>(moved!)
    assert.equal(await db.get('plain'), 'text')
    assert.deepEqual(await db.sublevel<string, object>('users', { valueEncoding: 'json' }).get('ada'), { name: 'Ada' })
    assert.deepEqual(await db.iterator({ keyEncoding: 'hex', valueEncoding: 'hex' }).all(), content)
    await db.close()

    const out = await run('--out', moved!, back!)
    assert.equal(out.code, 0, out.output)
    const copy = new ClassicLevel(back!)
    assert.deepEqual(await copy.iterator({ keyEncoding: 'hex', valueEncoding: 'hex' }).all(), content)
    await copy.put('zzz', 'only here')
    await copy.close()
    // What is in the copy only is said, not overlooked.
    const differs = await run('--out', moved!, back!)
    assert.equal(differs.code, 1)
    assert.match(differs.output, /is in the copy only/)
    assert.equal((await run(join(directory, 'nowhere'), moved!)).code, 2)
  }))
