/** Text of a page outside of fenced code. */
export function proseOf(page: string): string {
  return page.replaceAll(/^( *)(```+)[^\n]*\n[\s\S]*?^\1\2 *$/gm, '')
}

/** The anchors that its headings have, as GitHub makes them. */
export function anchorsOf(page: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of proseOf(page).matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const base = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-')
    let anchor = base
    for (let number = 1; anchors.has(anchor); number++) anchor = `${base}-${number}`
    anchors.add(anchor)
  }
  return anchors
}

/** Where its links and images lead. */
export function linksOf(page: string): string[] {
  const prose = proseOf(page).replaceAll(/`[^`\n]*`/g, '')
  const inline = [...prose.matchAll(/\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)(?: "[^"]*")?\)/g)].map((match) => match[1]!)
  const references = [...prose.matchAll(/^\[[^\]]+\]: (\S+)/gm)].map((match) => match[1]!)
  return [...inline, ...references]
}
