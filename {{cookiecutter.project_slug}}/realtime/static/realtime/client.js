/**
 * A WebSocket that comes back by itself, and goes on where it was.
 *
 * @typedef {object} Status
 * @property {"connecting" | "open" | "waiting" | "closed"} state
 * @property {number} [code] why the last connection ended
 * @property {number} [retryInMs] absent while waiting for the network, or for somebody to look
 *
 * @typedef {{epoch: number, seq: number}} Position in a stream
 */

const BASE_MS = 500;
const CAP_MS = 20_000;
// A server that accepts and then drops us at once is not a healthy one:
// the backoff starts over only after a connection has lasted this long.
const STABLE_MS = 5_000;
// Ping after this much silence, and come back if no answer arrives within this time.
const PING_AFTER_MS = 25_000;
const PONG_TIMEOUT_MS = 10_000;
// 44xx stands for HTTP's 4xx: asking again would get the same answer,
// except after "request timeout" and "too many requests".
const isFinal = (/** @type {number} */ code) =>
  code >= 4400 && code <= 4499 && code !== 4408 && code !== 4429;

// Nobody misses what a hidden page does not hear: it catches up when it is looked at.
const isIdle = () => document.hidden || !navigator.onLine;

/**
 * Dispatches
 * - `status` (detail: {@link Status})
 * - `message` (detail: the text or the JSON value)
 * - `stale` (detail: `{stream}`): what was sent in this stream until now may have been missed;
 *   load it from where it is kept.
 */
export class Socket extends EventTarget {
  /** @type {Status} */ #status = { state: "connecting" };
  /** @type {WebSocket | undefined} */ #ws;
  /** @type {number | undefined} */ #timer;
  /** @type {number | undefined} */ #silence;
  /** @type {number | undefined} */ #afterMs;
  /** @type {Map<string, Position>} */ #positions = new Map();
  /** @type {Map<string, string>} */ #kept = new Map();
  #attempt = 0;
  #ended = new AbortController();
  #json;
  #url;

  /**
   * @param {string} path relative to the site's root, such as "ws/echo/"
   * @param {object} [options]
   * @param {boolean} [options.json] for a consumer that speaks JSON, answers pings, follows streams
   * @param {string[]} [options.positions] what the page shows already, such as "room.lobby:1-42";
   *   an empty one is of a page that could not tell
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
    const { signal } = this.#ended;
    const rethink = () => {
      if (this.#status.state === "waiting") this.#wait();
      // Who was away may have come back with another network, or from a sleep.
      else if (!isIdle()) this.#ping();
    };
    window.addEventListener("online", rethink, { signal });
    window.addEventListener("offline", rethink, { signal });
    document.addEventListener("visibilitychange", rethink, { signal });
    this.#connect();
  }

  /** The latest status, for whoever was not yet listening when it was announced. */
  get status() {
    return this.#status;
  }

  /**
   * @param {string} data
   * @returns {boolean} false when there is no connection: the caller keeps the data
   */
  send(data) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(data);
    return true;
  }

  /**
   * Sends something now if it can, and again on every new connection, until it is forgotten.
   *
   * @param {string} key by which the server knows what it has already got: see {@link newKey}
   * @param {string} data
   */
  keep(key, data) {
    this.#kept.set(key, data);
    this.send(data);
  }

  /** @param {string} key of what has arrived, or is given up */
  forget(key) {
    this.#kept.delete(key);
  }

  close() {
    if (this.#status.state !== "closed") this.#end();
  }

  // Every method below reports last, because a listener may call close().

  #connect() {
    this.#afterMs = undefined;
    this.#url.searchParams.delete("position");
    for (const [stream, { epoch, seq }] of this.#positions) {
      this.#url.searchParams.append("position", `${stream}:${epoch}-${seq}`);
    }
    const ws = (this.#ws = new WebSocket(this.#url));
    ws.onopen = () => {
      this.#timer = setTimeout(() => (this.#attempt = 0), STABLE_MS);
      for (const data of this.#kept.values()) this.send(data);
      this.#report({ state: "open" });
    };
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code }) => (isFinal(code) ? this.#end(code) : this.#wait(code));
    this.#listen();
    this.#report({ state: "connecting" });
  }

  /**
   * Expects to hear something. A page can neither see nor send the protocol's own pings,
   * and without any it takes minutes to notice that a network is dead.
   */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#ping(), PING_AFTER_MS);
  }

  #ping() {
    clearTimeout(this.#silence);
    if (!this.#json) return;
    this.send('{"type": "ping"}');
    this.#silence = setTimeout(() => this.#wait(), PONG_TIMEOUT_MS);
  }

  /** Lets go of the connection; if it is a dead one, its end would take long to be announced. */
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    if (this.#ws) this.#ws.onopen = this.#ws.onmessage = this.#ws.onclose = null;
    this.#ws?.close();
  }

  /** @param {number} [code] */
  #wait(code) {
    this.#drop();
    if (isIdle()) {
      this.#attempt = 0;
      return this.#report({ state: "waiting", code });
    }
    // "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** this.#attempt++);
    const retryInMs = this.#afterMs ?? Math.random() * ceiling;
    this.#timer = setTimeout(() => this.#connect(), retryInMs);
    this.#report({ state: "waiting", code, retryInMs });
  }

  /** @param {number} [code] */
  #end(code) {
    this.#drop();
    this.#ended.abort();
    this.#report({ state: "closed", code });
  }

  /** @param {string} text */
  #receive(text) {
    this.#listen();
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      // Not every server speaks JSON.
    }
    if (value?.type === "reconnect") this.#afterMs = value.after_ms;
    else if (!this.#json) this.#dispatch("message", text);
    else if (value?.type === "subscribed") this.#subscribed(value);
    else if (value?.type !== "pong" && this.#isNew(value)) this.#dispatch("message", value);
  }

  /** @param {Position & {stream: string, recovered: boolean}} value */
  #subscribed({ stream, epoch, seq, recovered }) {
    this.#positions.set(stream, { epoch, seq });
    if (!recovered) this.#dispatch("stale", { stream });
  }

  /**
   * Moves on in the stream that a message belongs to, if it does.
   *
   * @param {any} value
   * @returns {boolean} false for what has been here before
   */
  #isNew(value) {
    if (value?.type !== "message") return true;
    const { stream, epoch, seq } = value;
    const last = this.#positions.get(stream);
    if (last && last.epoch === epoch && seq <= last.seq) return false;
    this.#positions.set(stream, { epoch, seq });
    return true;
  }

  /** @param {Status} status */
  #report(status) {
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

/** A random UUID; on a page that came over plain HTTP browsers do not have their own. */
export const newKey = () =>
  crypto.randomUUID?.() ??
  "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () =>
    (crypto.getRandomValues(new Uint8Array(1))[0] % 16).toString(16),
  );

/** @type {Record<string | number, string>} */
const SENTENCES = {
  connecting: "Connecting…",
  open: "Connected",
  waiting: "Reconnecting…",
  offline: "You are offline",
  closed: "Disconnected",
  4401: "Please log in again",
  4403: "You may not enter here",
  4404: "There is nothing here",
  4408: "Your connection is slow, reconnecting…",
  4429: "Too many requests, slowing down…",
};

/**
 * @param {Socket} socket
 * @param {HTMLElement} element an <output>: what it comes to say is read aloud
 */
export function showStatus(socket, element) {
  const show = () => {
    const { state, code } = socket.status;
    // One announcement for an outage, not one for each attempt to end it.
    if (state === "connecting" && element.dataset.state === "waiting") return;
    const offline = state === "waiting" && !navigator.onLine;
    const sentence = SENTENCES[offline ? "offline" : (code ?? state)] ?? SENTENCES[state];
    if (element.textContent !== sentence) element.textContent = sentence;
    element.dataset.state = state;
  };
  socket.addEventListener("status", show);
  show();
}
