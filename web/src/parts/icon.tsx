import type { VNode } from 'preact'
import type { Tone } from '../model/cluster-view.js'

/** A form of its own for each tone: colour alone says nothing to many people. */
const paths: Readonly<Record<Tone, string>> = {
  good: 'M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.6 5.2-4.2 4.7-3-2.8 1-1.1 1.900 1.800 3.200-3.600Z',
  busy: 'M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-.8 3h1.600v3.700l2.700 1.600-.8 1.300-3.500-2.100Z',
  warn: 'M8 1.200 15.500 14.500H.5ZM7.200 6v4.200h1.600V6Zm0 5.400V13h1.600v-1.600Z',
  bad: 'M5 1h6l4 4v6l-4 4H5l-4-4V5Zm2.200 3v5h1.600V4Zm0 6.400V12h1.600v-1.600Z',
  quiet:
    'M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.600a5.400 5.400 0 1 1 0 10.800A5.400 5.400 0 0 1 8 2.600ZM4.500 7.200h7v1.600h-7Z',
}

export function Icon({ tone }: { readonly tone: Tone }): VNode {
  return (
    <svg class={`icon ${tone}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      <path fill-rule="evenodd" d={paths[tone]} />
    </svg>
  )
}
