/** Levenshtein distance, for suggestions only: both words are short. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substitution))
    }
    row = next
  }
  return row[b.length]!
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_.]/g, '')
}

/** The known word that was probably meant, spelling of case and dashes aside; undefined if none is near. */
export function closest(word: string, known: Iterable<string>): string | undefined {
  const wanted = plain(word.slice(0, 64))
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const found = distance(wanted, plain(candidate))
    if (found < bestDistance) {
      best = candidate
      bestDistance = found
    }
  }
  return best
}
