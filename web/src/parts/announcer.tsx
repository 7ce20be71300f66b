import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Warning } from '../model/warnings.js'

interface Spoken {
  readonly title: string
  readonly ids: ReadonlySet<string>
  readonly notice: boolean
}

interface Line {
  readonly id: number
  readonly text: string
}

const linesMax = 12

/**
 * Says once what is new: the answer when it changes, warnings when they come and when all are gone. Lines are added and
 * never replaced: what follows a second later would cut off what is being read.
 */
export function Announcer(props: {
  readonly title: string
  readonly warnings: readonly Warning[]
  readonly notice: string | undefined
}): VNode {
  const { title, warnings, notice } = props
  const before = useRef<Spoken>({ title: '', ids: new Set(), notice: false })
  const [lines, setLines] = useState<readonly Line[]>([])
  useEffect(() => {
    const spoken = before.current
    const parts = [
      ...(notice !== undefined && !spoken.notice ? [notice] : []),
      ...(notice === undefined && spoken.notice ? ['Connected again.'] : []),
      ...(title === spoken.title ? [] : [`${title}.`]),
      ...warnings.filter(({ id }) => !spoken.ids.has(id)).map(({ text }) => text),
      ...(warnings.length === 0 && spoken.ids.size > 0 ? ['No warnings any more.'] : []),
    ]
    before.current = { title, ids: new Set(warnings.map(({ id }) => id)), notice: notice !== undefined }
    if (parts.length === 0) return
    setLines((said) => {
      const first = (said.at(-1)?.id ?? 0) + 1
      return [...said, ...parts.map((text, index) => ({ id: first + index, text }))].slice(-linesMax)
    })
  })
  return (
    <div class="unseen" role="log" aria-live="polite" aria-label="What has changed">
      {lines.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  )
}
