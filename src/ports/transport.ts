/**
 * Connections that carry frames, whole and in order, between nodes. A connection handed out by a transport is
 * already authenticated where the configuration asks for it; who the peer is, the handshake above decides.
 */
export interface Transport {
  /**
   * Rejects with a coded error: `UNAVAILABLE`, `TIMEOUT`, `UNAUTHORIZED`, `PROTOCOL`, `PROTOCOL_VERSION`, `CONFIG` (no
   * address), `ABORTED`, `CLOSED`, or what the other side refused with.
   */
  connect(address: string, options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Connection>
  /** Connections that others open. One acceptor at a time; without one they are refused. */
  accept(acceptor: (connection: Connection) => void): void
  /** Ends all connections and takes no more. Idempotent. */
  close(): Promise<void>
}

export interface Frame {
  /** One of `frameTypes` of the codec. */
  readonly type: number
  readonly payload: Uint8Array
  /** Behind the payload, where a transport did not join what came in pieces; nobody else has views of it. */
  readonly tail?: readonly Uint8Array[] | undefined
}

export interface ConnectionHandlers {
  /** In order. A frame's payload belongs to the receiver. A coded error that is thrown closes the connection with it. */
  onFrame(frame: Frame): void
  /**
   * Once, after the last frame; `error` says why unless either side closed it without one. A failure frame that is the
   * last before the end is the error, besides being a frame. A process that dies may look like one that closed.
   */
  onClose(error: Error | undefined): void
}

export interface Connection {
  /** Address of the other side, for people. */
  readonly remote: string
  /** Bytes handed to `send` that have not left this process. */
  readonly unsentBytes: number
  /** Frames that arrive before are kept (up to the frame limits) and delivered in order. */
  start(handlers: ConnectionHandlers): void
  /**
   * Sends one frame; the payload parts are taken over and must not change. Never blocks: whoever sends more than
   * control messages bounds it by credit and by `unsentBytes`. After close it does nothing.
   */
  send(type: number, ...payload: readonly Uint8Array[]): void
  /**
   * Sends what was handed over, then ends within a bounded time; no frame is delivered any more. A coded error is told
   * to the other side in a failure frame, unless the last frame sent was one. Idempotent; `onClose` follows.
   */
  close(error?: Error): void
}
