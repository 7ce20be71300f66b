import type { VNode } from 'preact'
import { plural } from '../model/format.js'
import type { Warning } from '../model/warnings.js'
import { Icon } from './icon.js'

/** What is new is read aloud, by its identity: figures in a sentence that change each second are not. */
export function WarningList({ warnings }: { readonly warnings: readonly Warning[] }): VNode {
  const troubles = warnings.filter(({ tone }) => tone !== 'busy').length
  const title = warnings.length === 0 ? 'No warnings' : troubles === 0 ? 'Under way' : plural(troubles, 'warning')
  return (
    <section class="warnings" aria-labelledby="warnings-title">
      <h2 id="warnings-title" class={warnings.length === 0 ? 'calm' : ''}>
        {warnings.length === 0 ? <Icon tone="good" /> : undefined}
        {title}
      </h2>
      {warnings.length === 0 ? undefined : (
        <ul>
          {warnings.map(({ id, tone, text, action }) => (
            <li key={id} class={tone}>
              <Icon tone={tone} />
              <div>
                <p class="text">{text}</p>
                {action === undefined ? undefined : <p class="action">{action}</p>}
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
