/**
 * Bytes that earlier releases wrote and this one must write and read. A difference here is a new format version, not a
 * new fixture. While version 1 has not been released: npm run build && node build/test/codec/golden.test.js --update
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { decodeChallenge, decodeProof, encodeChallenge, encodeProof } from '#src/codec/authentication.js'
import { blockFormatVersion, decodeBlock, decodeEntries, encodeBlock } from '#src/codec/block.js'
import { decodeChunk, encodeChunk } from '#src/codec/chunk.js'
import { chainZero } from '#src/codec/digest.js'
import { encodeFrameHeader } from '#src/codec/frame.js'
import { decodeMessage, encodeMessage, frameTypes, type MessageName } from '#src/codec/messages.js'
import { decodeOperations, encodeOperations } from '#src/codec/operations.js'
import { limits } from '#src/core/limits.js'
import { chunkSample, draftSamples, messageSamples, operationSamples } from './samples.js'

const file = fileURLToPath(new URL('../../../test/fixtures/formats-v1.json', import.meta.url))

interface Golden {
  readonly blockFormatVersion: number
  readonly protocolVersion: number
  readonly chainZero: string
  readonly blocks: Record<string, { readonly bytes: string; readonly chain: string }>
  readonly chunk: string
  readonly operations: string
  readonly challenge: string
  readonly proof: string
  readonly frameHeaders: Record<string, string>
  readonly messages: Record<string, readonly string[]>
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const unhex = (text: string | undefined) => Buffer.from(text ?? '', 'hex')
const names = Object.keys(messageSamples) as MessageName[]
const challenge = { secret: true, nonce: '5a'.repeat(32) }
const proof = { proof: 'a5'.repeat(32) }

function sample<N extends MessageName>(name: N) {
  return messageSamples[name]
}

function written(): Golden {
  const blocks: Golden['blocks'] = {}
  for (const [name, draft] of Object.entries(draftSamples)) {
    const block = encodeBlock(draft)
    blocks[name] = { bytes: hex(block.bytes), chain: block.end.chain }
  }
  const messages: Golden['messages'] = {}
  for (const name of names) messages[name] = sample(name).map((message) => hex(encodeMessage(name, message)))
  const frameHeaders: Golden['frameHeaders'] = {}
  for (const [name, type] of Object.entries(frameTypes)) frameHeaders[name] = hex(encodeFrameHeader(type, 0x010203))
  return {
    blockFormatVersion,
    protocolVersion: limits.protocolVersion,
    chainZero: chainZero('0f'.repeat(16), 'main'),
    blocks,
    chunk: hex(encodeChunk(chunkSample)),
    operations: hex(encodeOperations(operationSamples)),
    challenge: hex(encodeChallenge(challenge)),
    proof: hex(encodeProof(proof)),
    frameHeaders,
    messages,
  }
}

if (process.argv.includes('--update')) writeFileSync(file, `${JSON.stringify(written(), null, 2)}\n`)
const golden: Golden = JSON.parse(readFileSync(file, 'utf8'))

/** Buffers and arrays of bytes compare as bytes. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, one) => {
      if (one?.type === 'Buffer' && Array.isArray(one.data)) return `bytes ${Buffer.from(one.data).toString('hex')}`
      return one === undefined ? 'undefined' : one
    }),
  )
}

describe('golden bytes of version 1', () => {
  test('the versions are the ones of the fixture', () => {
    assert.equal(blockFormatVersion, golden.blockFormatVersion)
    assert.equal(limits.protocolVersion, golden.protocolVersion)
  })

  test('J5: blocks are written byte for byte, and read back', () => {
    const now = written()
    assert.deepEqual(now.blocks, golden.blocks)
    for (const [name, draft] of Object.entries(draftSamples)) {
      const block = decodeBlock(unhex(golden.blocks[name]?.bytes))
      const { entries, ...header } = draft
      assert.deepEqual(
        { ...block.header, payloadBytes: 0 },
        { ...header, entryCount: entries.length, payloadBytes: 0 },
        name,
      )
      assert.equal(block.end.chain, golden.blocks[name]?.chain)
      assert.deepEqual(plain(decodeEntries(block)), plain(entries))
    }
  })

  test('chunks and operations are written byte for byte, and read back', () => {
    const now = written()
    assert.equal(now.chunk, golden.chunk)
    assert.deepEqual(plain([...decodeChunk(unhex(golden.chunk))]), plain(chunkSample))
    assert.equal(now.operations, golden.operations)
    assert.deepEqual(plain(decodeOperations(unhex(golden.operations))), plain(operationSamples))
  })

  test('what is said before authentication is written byte for byte, and read back', () => {
    const now = written()
    assert.deepEqual([now.challenge, now.proof], [golden.challenge, golden.proof])
    assert.deepEqual(decodeChallenge(unhex(golden.challenge)), challenge)
    assert.deepEqual(decodeProof(unhex(golden.proof)), proof)
  })

  test('the chain of a new history and the frame headers are as they were', () => {
    const now = written()
    assert.equal(now.chainZero, golden.chainZero)
    assert.deepEqual(now.frameHeaders, golden.frameHeaders)
  })

  for (const name of names) {
    test(`message ${name} is written byte for byte, and read back`, () => {
      const messages = sample(name)
      assert.deepEqual(
        messages.map((message) => hex(encodeMessage(name, message))),
        golden.messages[name],
      )
      for (const [index, bytes] of (golden.messages[name] ?? []).entries()) {
        assert.deepEqual(plain(decodeMessage(name, unhex(bytes))), plain(messages[index]))
      }
    })
  }

  test('the fixture has no message that no longer exists', () => {
    assert.deepEqual(Object.keys(golden.messages).sort(), [...names].sort())
  })
})
