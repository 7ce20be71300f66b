import type { VNode } from 'preact'
import type { Theme } from '../theme.js'

const next: Readonly<Record<Theme, Theme>> = { auto: 'light', light: 'dark', dark: 'auto' }
const labels: Readonly<Record<Theme, string>> = { auto: 'Auto', light: 'Light', dark: 'Dark' }

export function ThemeSwitch(props: { readonly theme: Theme; readonly onTheme: (theme: Theme) => void }): VNode {
  const { theme, onTheme } = props
  return (
    <button
      type="button"
      class="plain theme"
      aria-label={`Colours: ${labels[theme]}. Change to ${labels[next[theme]]}`}
      onClick={() => onTheme(next[theme])}
    >
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
        <path fill-rule="evenodd" d="M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.600v10.800A5.400 5.400 0 0 0 8 2.600Z" />
      </svg>
      {labels[theme]}
    </button>
  )
}
