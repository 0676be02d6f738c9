/**
 * A WebSocket that reconnects by itself and resumes its streams where they were interrupted.
 *
 * @typedef {object} Status
 * @property {"connecting" | "open" | "waiting" | "closed"} state
 * @property {number} [code] the close code of the last connection
 * @property {number} [retryInMs] absent while offline, or while the page is hidden
 *
 * @typedef {{epoch: number, seq: number}} Position a position in a stream
 */

/** The close codes of realtime/protocol.py. A test compares the two. */
export const CloseCode = {
  RECONNECT: 4000,
  BAD_MESSAGE: 4400,
  NOT_AUTHENTICATED: 4401,
  FORBIDDEN: 4403,
  NOT_FOUND: 4404,
  TOO_SLOW: 4408,
  LIMIT_EXCEEDED: 4429,
  SERVER_ERROR: 4500,
};

/** The message types of realtime/protocol.py. A test compares the two. */
export const MessageType = {
  PING: "ping",
  PONG: "pong",
  RECONNECT: "reconnect",
  SUBSCRIBED: "subscribed",
  MESSAGE: "message",
  PRESENCE: "presence",
};

const BASE_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;
// A server that accepts a connection and drops it at once is not healthy:
// the backoff is reset only after a connection has lasted this long.
const STABLE_MS = 5_000;
// Ping after this much silence, and reconnect if nothing is received within the timeout.
const PING_AFTER_MS = 25_000;
const PONG_TIMEOUT_MS = 10_000;

/**
 * Whether a close code rules out reconnecting. 44xx mirrors HTTP's 4xx: another attempt would get
 * the same answer, except after 408 (request timeout) and 429 (too many requests).
 *
 * @param {number} code
 */
const isFinal = (code) =>
  code >= 4400 && code <= 4499 && code !== CloseCode.TOO_SLOW && code !== CloseCode.LIMIT_EXCEEDED;

/** Whether to put off connecting: a hidden page catches up when it becomes visible. */
const isIdle = () => document.hidden || !navigator.onLine;

/**
 * Dispatches
 * - `status` (detail: {@link Status})
 * - `message` (detail: the text or the JSON value)
 * - `stale` (detail: `{stream}`): messages of this stream may have been missed;
 *   load them from where they are stored.
 */
export class RealtimeSocket extends EventTarget {
  /** @type {Status} */ #status = { state: "connecting" };
  /** @type {WebSocket | undefined} */ #ws;
  /** @type {number | undefined} */ #connectionTimer;
  /** @type {number | undefined} */ #silenceTimer;
  /** @type {number | undefined} */ #reconnectAfterMs;
  /** @type {Map<string, Position>} */ #positions = new Map();
  /** @type {Map<string, string>} */ #unacknowledged = new Map();
  #failures = 0;
  #listeners = new AbortController();
  #json;
  #url;

  /**
   * @param {string} path relative to the site's root, such as "ws/echo/"
   * @param {object} [options]
   * @param {boolean} [options.json] for a consumer that speaks JSON, with pings and streams
   * @param {string[]} [options.positions] which the page already shows, such as "room.lobby:1-42";
   *   an empty string stands for an unknown position
   */
  constructor(path, { json = false, positions = [] } = {}) {
    super();
    this.#json = json;
    for (const position of positions) {
      const [, stream, epoch, seq] = /^(.+):(\d+)-(\d+)$/.exec(position) ?? [];
      if (stream) this.#positions.set(stream, { epoch: Number(epoch), seq: Number(seq) });
    }
    this.#url = new URL(document.documentElement.dataset.root + path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const { signal } = this.#listeners;
    const check = () => {
      if (this.#status.state === "waiting") this.#scheduleReconnect();
      // The device may have slept, or moved to another network.
      else if (!isIdle()) this.#ping();
    };
    window.addEventListener("online", check, { signal });
    window.addEventListener("offline", check, { signal });
    document.addEventListener("visibilitychange", check, { signal });
    this.#connect();
  }

  /** The latest status, for listeners that were added after it was dispatched. */
  get status() {
    return this.#status;
  }

  /**
   * Sends data over the open connection.
   *
   * @param {string} data
   * @returns {boolean} false if there is no open connection; the data is not stored
   */
  send(data) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(data);
    return true;
  }

  /**
   * Sends data at once if connected, and on every new connection until it is acknowledged.
   *
   * @param {string} key by which the server recognises a repetition: see {@link newKey}
   * @param {string} data
   */
  sendReliably(key, data) {
    this.#unacknowledged.set(key, data);
    this.send(data);
  }

  /**
   * Stops resending the data of this key.
   *
   * @param {string} key of data that has arrived, or is given up
   */
  acknowledge(key) {
    this.#unacknowledged.delete(key);
  }

  /** Closes the connection and stops reconnecting. */
  close() {
    if (this.#status.state !== "closed") this.#finish();
  }

  // The methods below dispatch `status` as their last step: a listener may call close().

  #connect() {
    this.#reconnectAfterMs = undefined;
    this.#url.searchParams.delete("position");
    for (const [stream, { epoch, seq }] of this.#positions) {
      this.#url.searchParams.append("position", `${stream}:${epoch}-${seq}`);
    }
    const ws = (this.#ws = new WebSocket(this.#url));
    ws.onopen = () => {
      this.#connectionTimer = setTimeout(() => (this.#failures = 0), STABLE_MS);
      for (const data of this.#unacknowledged.values()) this.send(data);
      this.#setStatus({ state: "open" });
    };
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code }) => (isFinal(code) ? this.#finish(code) : this.#scheduleReconnect(code));
    this.#restartSilenceTimer();
    this.#setStatus({ state: "connecting" });
  }

  /**
   * Pings after {@link PING_AFTER_MS} without a message. Scripts can neither see nor send the
   * WebSocket protocol's own pings, and without pings it takes minutes to detect a dead network.
   */
  #restartSilenceTimer() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#ping(), PING_AFTER_MS);
  }

  #ping() {
    clearTimeout(this.#silenceTimer);
    if (!this.#json) return;
    this.send(`{"type": "${MessageType.PING}"}`);
    this.#silenceTimer = setTimeout(() => this.#scheduleReconnect(), PONG_TIMEOUT_MS);
  }

  /** Drops the connection without waiting for `close`, which on a dead network comes late. */
  #disconnect() {
    clearTimeout(this.#connectionTimer);
    clearTimeout(this.#silenceTimer);
    if (this.#ws) this.#ws.onopen = this.#ws.onmessage = this.#ws.onclose = null;
    this.#ws?.close();
  }

  /** @param {number} [code] the close code */
  #scheduleReconnect(code) {
    this.#disconnect();
    if (isIdle()) {
      this.#failures = 0;
      return this.#setStatus({ state: "waiting", code });
    }
    // "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    const maxDelay = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** this.#failures++);
    const retryInMs = this.#reconnectAfterMs ?? Math.random() * maxDelay;
    this.#connectionTimer = setTimeout(() => this.#connect(), retryInMs);
    this.#setStatus({ state: "waiting", code, retryInMs });
  }

  /** @param {number} [code] the close code */
  #finish(code) {
    this.#disconnect();
    this.#listeners.abort();
    this.#setStatus({ state: "closed", code });
  }

  /** @param {string} text */
  #receive(text) {
    this.#restartSilenceTimer();
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      // Not every consumer speaks JSON.
    }
    if (value?.type === MessageType.RECONNECT) this.#reconnectAfterMs = value.after_ms;
    else if (!this.#json) this.#dispatch("message", text);
    else if (value?.type === MessageType.SUBSCRIBED) this.#subscribed(value);
    else if (value?.type !== MessageType.PONG && this.#isNew(value))
      this.#dispatch("message", value);
  }

  /** @param {Position & {stream: string, recovered: boolean}} value */
  #subscribed({ stream, epoch, seq, recovered }) {
    this.#positions.set(stream, { epoch, seq });
    if (!recovered) this.#dispatch("stale", { stream });
  }

  /**
   * Advances the position of the message's stream.
   *
   * @param {any} value
   * @returns {boolean} false for a message of a stream that was received before
   */
  #isNew(value) {
    if (value?.type !== MessageType.MESSAGE) return true;
    const { stream, epoch, seq } = value;
    const last = this.#positions.get(stream);
    if (last && last.epoch === epoch && seq <= last.seq) return false;
    this.#positions.set(stream, { epoch, seq });
    return true;
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.#status = status;
    this.#dispatch("status", status);
  }

  /**
   * @param {string} type
   * @param {any} detail
   */
  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Returns a random UUID. Over plain HTTP browsers do not offer `crypto.randomUUID`. */
export const newKey = () =>
  crypto.randomUUID?.() ??
  "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () =>
    (crypto.getRandomValues(new Uint8Array(1))[0] % 16).toString(16),
  );

/**
 * What {@link showStatus} shows where {@link pageTexts} has no text.
 *
 * @type {Record<string, string>}
 */
export const STATUS_TEXTS = {
  connecting: "Connecting…",
  open: "Connected",
  waiting: "Reconnecting…",
  offline: "You are offline.",
  closed: "Disconnected",
  [CloseCode.NOT_AUTHENTICATED]: "Log in again to reconnect.",
  [CloseCode.FORBIDDEN]: "You do not have access.",
  [CloseCode.NOT_FOUND]: "This address does not exist.",
  [CloseCode.TOO_SLOW]: "Your connection is too slow. Reconnecting…",
  [CloseCode.LIMIT_EXCEEDED]: "Too many messages or connections. Reconnecting…",
};

/**
 * Returns the page's translated texts for scripts, by name:
 *
 *     <template class="texts"><span data-text="open">Connected</span></template>
 *
 * If a name occurs several times, the last text is used: a page can replace a general one.
 *
 * @returns {Record<string, string>}
 */
export function pageTexts() {
  const templates = [...document.querySelectorAll("template.texts")];
  const elements = templates.flatMap(({ content }) => [...content.children]);
  return Object.fromEntries(
    elements.map(({ dataset, textContent }) => [dataset.text, textContent.trim()]),
  );
}

/**
 * Shows a socket's status in words, and as `data-state` for style sheets.
 *
 * @param {RealtimeSocket} socket
 * @param {HTMLElement} element an <output>: screen readers announce its changes
 */
export function showStatus(socket, element) {
  const texts = { ...STATUS_TEXTS, ...pageTexts() };
  const show = () => {
    const { state, code } = socket.status;
    // One announcement for each outage, not for each attempt to reconnect.
    if (state === "connecting" && element.dataset.state === "waiting") return;
    const offline = state === "waiting" && !navigator.onLine;
    const text = texts[offline ? "offline" : (code ?? state)] ?? texts[state];
    if (element.textContent !== text) element.textContent = text;
    element.dataset.state = state;
  };
  socket.addEventListener("status", show);
  show();
}
