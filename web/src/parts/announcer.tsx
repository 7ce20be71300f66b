import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Warning } from '../model/warnings.js'

interface Spoken {
  readonly title: string
  readonly ids: ReadonlySet<string>
  readonly notice: boolean
}

/** Says once what is new: the answer when it changes, warnings when they come and when all are gone. */
export function Announcer(props: {
  readonly title: string
  readonly warnings: readonly Warning[]
  readonly notice: string | undefined
}): VNode {
  const { title, warnings, notice } = props
  const before = useRef<Spoken>({ title: '', ids: new Set(), notice: false })
  const [text, setText] = useState('')
  useEffect(() => {
    const spoken = before.current
    const fresh = warnings.filter(({ id }) => !spoken.ids.has(id)).map((warning) => warning.text)
    const parts = [
      ...(notice !== undefined && !spoken.notice ? [notice] : []),
      ...(notice === undefined && spoken.notice ? ['Connected again.'] : []),
      ...(title === spoken.title ? [] : [`${title}.`]),
      ...fresh,
      ...(warnings.length === 0 && spoken.ids.size > 0 ? ['No warnings any more.'] : []),
    ]
    before.current = { title, ids: new Set(warnings.map(({ id }) => id)), notice: notice !== undefined }
    if (parts.length > 0) setText(parts.join(' '))
  })
  return (
    <div class="unseen" role="status" aria-live="polite" aria-atomic="true">
      {text}
    </div>
  )
}
