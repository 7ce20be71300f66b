import type { Epoch, Position } from '../core/position.js'
import type { Oracle } from './oracle.js'
import type { RegisterOperation } from './register-history.js'

type Place =
  /** Where it is in a history. */
  | { readonly type: 'write'; readonly position: { readonly epoch: Epoch; readonly sequence: number } }
  /** What was applied where it was read. */
  | { readonly type: 'read'; readonly applied: Position }

/** What clients saw, and where in which history they saw it, as far as they were told. */
export class PlacedHistory {
  readonly operations: RegisterOperation[] = []
  private readonly places = new Map<RegisterOperation, Place>()

  add(operation: RegisterOperation, place: Place | undefined): void {
    this.operations.push(operation)
    if (place !== undefined) this.places.set(operation, place)
  }

  /**
   * What must fit into one order. After a forced promotion that is what belongs to the present history: what was given
   * up is not judged, and neither is what a primary of an earlier epoch showed until it heard of the forced one. A write
   * that was given up where it was acknowledged may be there all the same, from another place: a primary before had
   * appended it, was deposed, and sent it on (S9).
   */
  judged(oracle: Oracle): readonly RegisterOperation[] {
    if (oracle.mayLose) return []
    const { givenUp, fold } = oracle
    if (!givenUp.isAnything) return this.operations
    return this.operations.flatMap((operation): readonly RegisterOperation[] => {
      const place = this.places.get(operation)
      if (place === undefined) return [operation]
      if (place.type === 'write') {
        const isThere = !givenUp.isGivenUp(place.position.epoch) || fold.holds(place.position, fold.newest)
        return [isThere ? operation : { ...operation, outcome: 'unknown' }]
      }
      const { applied } = place
      const isOfPresent = fold.isOfPresent(fold.at(applied)) && !oracle.isBeside(applied.epoch, operation.returnedMs)
      return isOfPresent ? [operation] : []
    })
  }
}
