import type { VNode } from 'preact'
import { plural } from '../model/format.js'
import type { Warning } from '../model/warnings.js'
import { Icon } from './icon.js'

/** What is new is read aloud, by its identity: figures in a sentence that change each second are not. */
export function WarningList({ warnings }: { readonly warnings: readonly Warning[] }): VNode {
  const troubles = warnings.filter(({ tone }) => tone !== 'busy').length
  const busy = warnings.length - troubles
  const title =
    warnings.length === 0
      ? 'Warnings'
      : [...(troubles === 0 ? [] : [plural(troubles, 'warning')]), ...(busy === 0 ? [] : [`${busy} under way`])].join(
          ', ',
        )
  return (
    <section class="warnings" aria-labelledby="warnings-title">
      <h2 id="warnings-title" class={warnings.length === 0 ? 'unseen' : ''}>
        {title}
      </h2>
      {warnings.length === 0 ? (
        <p class="calm">
          <Icon tone="good" />
          No warnings
        </p>
      ) : undefined}
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
