import { MessageType, RealtimeSocket, newKey, pageTexts, showStatus } from "../realtime/client.js";

const messages = document.querySelector("#messages");
const log = messages.parentElement;
const template = document.querySelector("#message");
const form = document.querySelector("#message-form");
const input = document.querySelector("#message-input");
const error = document.querySelector("#room-error");
const members = document.querySelector("#members");
const replica = document.querySelector("#replica");
const { room, position, you } = messages.dataset;
const texts = pageTexts();

// The delay before each attempt to fetch this page. The random part spreads the load: after an
// outage many pages have to be fetched at the same time.
const FETCH_DELAYS_MS = [0, 5_000];
const FETCH_JITTER_MS = 1_000;
const MAX_NAMES = 8;

/** List items of messages that were sent from here and are not confirmed, by their keys. */
const pending = new Map();
/** Whether messages may be missing from the list, and the attempt to fetch them. */
let incomplete = false;
let attempt = new AbortController();

const socket = new RealtimeSocket(`ws/rooms/${room}/`, { json: true, positions: [position] });
showStatus(socket, document.querySelector("#room-status"));

const handlers = {
  welcome(welcome) {
    replica.textContent = texts.replica.replace("{replica}", () => welcome.replica);
  },
  [MessageType.MESSAGE]({ data: { id, key, author, text, sent_at } }) {
    const item = settle(key) ?? createItem(author, text);
    item.dataset.id = id;
    item.querySelector("time").dateTime = sent_at;
    insert(item);
  },
  [MessageType.PRESENCE]: showMembers,
};
socket.addEventListener("message", ({ detail }) => handlers[detail.type]?.(detail));

socket.addEventListener("stale", catchUp);
socket.addEventListener("status", ({ detail: { state } }) => {
  if (state !== "open") members.textContent = "";
  if (state === "open" && incomplete) catchUp();
  if (state !== "closed") return;
  error.textContent = texts.ended;
  for (const key of pending.keys()) markUnsent(key);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text) return;
  if (socket.status.state === "closed") {
    error.textContent = texts.ended;
    return;
  }
  input.value = "";
  error.textContent = "";
  const key = newKey();
  const item = createItem(you, text);
  // Screen readers wait until it is confirmed: its author knows the text.
  item.setAttribute("aria-busy", "true");
  item.querySelector("time").textContent = texts.sending;
  pending.set(key, item);
  messages.append(item);
  following = true;
  socket.sendReliably(key, JSON.stringify({ type: "say", key, text }));
});

/** Creates the list item of a message. */
function createItem(author, text) {
  const item = template.content.cloneNode(true).querySelector("li");
  item.classList.toggle("mine", author === you);
  item.querySelector(".author").textContent = author;
  item.querySelector("p").textContent = text;
  return item;
}

/** Stops sending a message, and returns its list item if it was pending. */
function settle(key) {
  const item = pending.get(key);
  socket.acknowledge(key);
  pending.delete(key);
  item?.removeAttribute("aria-busy");
  return item;
}

/** Gives up sending a message, and shows that. */
function markUnsent(key) {
  const item = settle(key);
  if (!item) return;
  item.classList.add("lost");
  item.querySelector("time").textContent = texts.unsent;
}

/** Inserts a message in the order of ids, before pending ones; removes it if it is a duplicate. */
function insert(item) {
  const id = Number(item.dataset.id);
  const others = [...messages.children].filter((other) => other !== item);
  if (others.some((other) => Number(other.dataset.id) === id)) return item.remove();
  showLocalTime(item.querySelector("time"));
  const later = others.find((other) => Number(other.dataset.id) > id);
  messages.insertBefore(item, later ?? pending.values().next().value ?? null);
}

/**
 * Makes the list equal to the server's, plus messages that arrive meanwhile.
 * Unchanged items are not replaced: a screen reader would read all of them again.
 */
async function catchUp() {
  attempt.abort();
  attempt = new AbortController();
  const { signal } = attempt;
  incomplete = true;
  const known = Array.from(messages.querySelectorAll("[data-id]"));
  const list = await fetchList(signal);
  if (signal.aborted) return;
  if (!list) {
    error.textContent = list === null ? texts.loggedOut : texts.incomplete;
    return;
  }
  incomplete = false;
  if ([texts.incomplete, texts.loggedOut].includes(error.textContent)) error.textContent = "";
  const items = [...list.children];
  const ids = new Set(items.map((item) => item.dataset.id));
  for (const item of known) if (!ids.has(item.dataset.id)) item.remove();
  for (const item of items) {
    settle(item.dataset.key)?.remove();
    insert(item);
  }
}

/** Fetches this page for its list: null if redirected to the login, undefined if it failed. */
async function fetchList(signal) {
  for (const delay of FETCH_DELAYS_MS) {
    await new Promise((resolve) => setTimeout(resolve, delay + Math.random() * FETCH_JITTER_MS));
    try {
      const response = await fetch(location.href, { signal });
      if (response.redirected) return null;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (response.ok) return page.querySelector("#messages");
    } catch {
      // The network is unreachable, or a later attempt has aborted this one.
    }
  }
}

/** Shows the names of the members, this user first: at most MAX_NAMES of them. */
function showMembers({ members: names }) {
  const shown = names.filter((name) => name !== you);
  if (shown.length < names.length) shown.unshift(texts.you);
  const more = shown.length - MAX_NAMES;
  if (more > 0) shown.splice(MAX_NAMES, more, texts.more.replace("{count}", more));
  const list = new Intl.ListFormat(document.documentElement.lang || undefined);
  const parts = list.formatToParts(shown).map(({ type, value }) => {
    if (type === "literal") return value;
    const name = document.createElement("bdi");
    name.textContent = value;
    return name;
  });
  const [before, after = ""] = texts.members.split("{members}");
  members.replaceChildren(before, ...parts, after);
}

/** Shows a time in the reader's time zone and language, with the date unless it is today. */
function showLocalTime(time) {
  const date = new Date(time.dateTime);
  const today = date.toDateString() === new Date().toDateString();
  const options = { timeStyle: "short", dateStyle: today ? undefined : "medium" };
  time.textContent = date.toLocaleString(undefined, options);
  time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
}

messages.querySelectorAll("time").forEach(showLocalTime);

// Keep the newest message in view, unless the reader has scrolled up: when the list grows, and
// when a phone's keyboard shrinks the log.
let following = true;
let top = 0;
log.addEventListener("scroll", () => {
  const atBottom = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  // The list may have grown since the event: only scrolling up stops the following.
  following = atBottom || (following && log.scrollTop >= top);
  top = log.scrollTop;
});
const observer = new ResizeObserver(() => {
  if (following) log.scrollTop = log.scrollHeight;
});
observer.observe(messages);
observer.observe(log);
