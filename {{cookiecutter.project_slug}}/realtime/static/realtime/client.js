/**
 * A WebSocket that comes back by itself.
 *
 * @typedef {object} Status
 * @property {"connecting" | "open" | "waiting" | "closed"} state
 * @property {number} [code] why the last connection ended
 * @property {number} [retryInMs] absent while waiting for the network
 */

const BASE_MS = 500;
const CAP_MS = 20_000;
// A server that accepts and then drops us at once is not a healthy one:
// the backoff starts over only after a connection has lasted this long.
const STABLE_MS = 5_000;
// 44xx stands for HTTP's 4xx: asking again would get the same answer,
// except after "request timeout" and "too many requests".
const isFinal = (/** @type {number} */ code) =>
  code >= 4400 && code <= 4499 && code !== 4408 && code !== 4429;

/** Dispatches `status` (detail: {@link Status}) and `message` (detail: the text or the JSON value). */
export class Socket extends EventTarget {
  /** @type {Status} */ #status = { state: "connecting" };
  /** @type {WebSocket | undefined} */ #ws;
  /** @type {number | undefined} */ #timer;
  /** @type {number | undefined} */ #afterMs;
  #attempt = 0;
  #ended = new AbortController();
  #json;
  #url;

  /**
   * @param {string} path relative to the site's root, such as "ws/echo/"
   * @param {{json?: boolean}} [options]
   */
  constructor(path, { json = false } = {}) {
    super();
    this.#json = json;
    this.#url = new URL(document.documentElement.dataset.root + path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const { signal } = this.#ended;
    const rethink = () => this.#status.state === "waiting" && this.#wait();
    window.addEventListener("online", rethink, { signal });
    window.addEventListener("offline", rethink, { signal });
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

  close() {
    if (this.#status.state !== "closed") this.#end();
  }

  // Every method below reports last, because a listener may call close().

  #connect() {
    this.#afterMs = undefined;
    const ws = (this.#ws = new WebSocket(this.#url));
    ws.onopen = () => {
      this.#timer = setTimeout(() => (this.#attempt = 0), STABLE_MS);
      this.#report({ state: "open" });
    };
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code }) => (isFinal(code) ? this.#end(code) : this.#wait(code));
    this.#report({ state: "connecting" });
  }

  /** @param {number} [code] */
  #wait(code) {
    clearTimeout(this.#timer);
    if (!navigator.onLine) {
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
    clearTimeout(this.#timer);
    this.#ended.abort();
    if (this.#ws) this.#ws.onopen = this.#ws.onmessage = this.#ws.onclose = null;
    this.#ws?.close();
    this.#report({ state: "closed", code });
  }

  /** @param {string} text */
  #receive(text) {
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      // Not every server speaks JSON.
    }
    if (value?.type === "reconnect") this.#afterMs = value.after_ms;
    else this.dispatchEvent(new CustomEvent("message", { detail: this.#json ? value : text }));
  }

  /** @param {Status} status */
  #report(status) {
    this.#status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }
}

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
  4429: "Too many requests, slowing down…",
};

/**
 * @param {Socket} socket
 * @param {HTMLElement} element an <output>: what it comes to say is read aloud
 */
export function showStatus(socket, element) {
  const show = () => {
    const { state, code, retryInMs } = socket.status;
    // One announcement for an outage, not one for each attempt to end it.
    if (state === "connecting" && element.dataset.state === "waiting") return;
    const offline = state === "waiting" && retryInMs === undefined;
    const sentence = SENTENCES[offline ? "offline" : (code ?? state)] ?? SENTENCES[state];
    if (element.textContent !== sentence) element.textContent = sentence;
    element.dataset.state = state;
  };
  socket.addEventListener("status", show);
  show();
}
