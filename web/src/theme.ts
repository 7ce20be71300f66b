import { readStored, writeStored } from './storage.js'

export type Theme = 'auto' | 'light' | 'dark'

const key = 'understudy-theme'

export function storedTheme(): Theme {
  const stored = readStored(() => localStorage, key)
  return stored === 'light' || stored === 'dark' ? stored : 'auto'
}

/** `auto` follows the system; otherwise the choice of this browser. */
export function applyTheme(theme: Theme): void {
  if (theme === 'auto') document.documentElement.removeAttribute('data-theme')
  else document.documentElement.setAttribute('data-theme', theme)
  writeStored(() => localStorage, key, theme === 'auto' ? undefined : theme)
}
