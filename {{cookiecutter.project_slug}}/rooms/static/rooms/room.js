import { Socket, newKey, showStatus } from "../realtime/client.js";

const messages = document.querySelector("#messages");
const log = messages.parentElement;
const template = document.querySelector("#message");
const form = document.querySelector("#message-form");
const input = document.querySelector("#message-input");
const error = document.querySelector("#room-error");
const here = document.querySelector("#here");
const replica = document.querySelector("#replica");
const { room, position, you } = messages.dataset;

const ENDED = "This page is no longer connected. Reload it to go on.";
const LACKING = "Some messages could not be loaded. Reload the page to see them.";
const LOGGED_OUT = "You are logged out. Reload the page to log in again.";
// Pauses before this page is fetched, and fetched again. Many may have to at the same time.
const PAUSES_MS = [0, 5_000];
const SPREAD_MS = 1_000;
const MOST_NAMES = 8;

/** Items of what was said here and has not come back, by their keys. */
const pending = new Map();
/** Whether messages are lacking, and what ends an attempt to get them. */
let lacking = false;
let attempt = new AbortController();

const socket = new Socket(`ws/rooms/${room}/`, { json: true, positions: [position] });
showStatus(socket, document.querySelector("#room-status"));

const handlers = {
  welcome(welcome) {
    replica.textContent = `Answered by replica ${welcome.replica}`;
  },
  message({ data: { id, key, author, text, sent_at } }) {
    const item = settle(key) ?? draw(author, text);
    item.dataset.id = id;
    item.querySelector("time").dateTime = sent_at;
    place(item);
  },
  presence: showPresence,
};
socket.addEventListener("message", ({ detail }) => handlers[detail.type]?.(detail));

socket.addEventListener("stale", catchUp);
socket.addEventListener("status", ({ detail: { state } }) => {
  if (state !== "open") here.textContent = "";
  if (state === "open" && lacking) catchUp();
  if (state !== "closed") return;
  error.textContent = ENDED;
  for (const key of pending.keys()) giveUp(key);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text) return;
  if (socket.status.state === "closed") {
    error.textContent = ENDED;
    return;
  }
  input.value = "";
  error.textContent = "";
  const key = newKey();
  const item = draw(you, text);
  // Not to be read aloud before it has come back: its author knows it.
  item.setAttribute("aria-busy", "true");
  item.querySelector("time").textContent = "sending…";
  pending.set(key, item);
  messages.append(item);
  following = true;
  socket.keep(key, JSON.stringify({ type: "say", key, text }));
});

function draw(author, text) {
  const item = template.content.cloneNode(true).querySelector("li");
  item.classList.toggle("mine", author === you);
  item.querySelector(".author").textContent = author;
  item.querySelector("p").textContent = text;
  return item;
}

/** Waits no longer for a message, and returns its item if there was one. */
function settle(key) {
  const item = pending.get(key);
  socket.forget(key);
  pending.delete(key);
  item?.removeAttribute("aria-busy");
  return item;
}

function giveUp(key) {
  const item = settle(key);
  if (!item) return;
  item.classList.add("lost");
  item.querySelector("time").textContent = "not sent";
}

/** Puts a message among the others by its id, before what is pending, or away if it is there. */
function place(item) {
  const id = Number(item.dataset.id);
  const others = [...messages.children].filter((other) => other !== item);
  if (others.some((other) => Number(other.dataset.id) === id)) return item.remove();
  localise(item.querySelector("time"));
  const later = others.find((other) => Number(other.dataset.id) > id);
  messages.insertBefore(item, later ?? pending.values().next().value ?? null);
}

/**
 * Makes the list what the server would show now, and keeps what comes meanwhile.
 * Items that stay are not replaced: a screen reader would read all of them again.
 */
async function catchUp() {
  attempt.abort();
  attempt = new AbortController();
  const { signal } = attempt;
  lacking = true;
  const known = Array.from(messages.querySelectorAll("[data-id]"));
  const list = await fetchList(signal);
  if (signal.aborted) return;
  if (!list) {
    error.textContent = list === null ? LOGGED_OUT : LACKING;
    return;
  }
  lacking = false;
  if ([LACKING, LOGGED_OUT].includes(error.textContent)) error.textContent = "";
  const items = [...list.children];
  const ids = new Set(items.map((item) => item.dataset.id));
  for (const item of known) if (!ids.has(item.dataset.id)) item.remove();
  for (const item of items) {
    settle(item.dataset.key)?.remove();
    place(item);
  }
}

/** Fetches this page again for its list: null if it has none, undefined if that has failed. */
async function fetchList(signal) {
  for (const pause of PAUSES_MS) {
    await new Promise((resolve) => setTimeout(resolve, pause + Math.random() * SPREAD_MS));
    try {
      const response = await fetch(location.href, { signal });
      if (response.redirected) return null;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (response.ok) return page.querySelector("#messages");
    } catch {
      // The network is away, or nobody waits for this any more.
    }
  }
}

function showPresence({ here: names }) {
  const shown = names.filter((name) => name !== you);
  if (shown.length < names.length) shown.unshift("you");
  const more = shown.length - MOST_NAMES;
  if (more > 0) shown.splice(MOST_NAMES, more, `${more} more`);
  const parts = new Intl.ListFormat("en").formatToParts(shown).map(({ type, value }) => {
    if (type === "literal") return value;
    const name = document.createElement("bdi");
    name.textContent = value;
    return name;
  });
  here.replaceChildren("Here: ", ...parts);
}

/** Puts a time into the reader's own zone and language; the day is said unless it is today. */
function localise(time) {
  const date = new Date(time.dateTime);
  const today = date.toDateString() === new Date().toDateString();
  const options = { timeStyle: "short", dateStyle: today ? undefined : "medium" };
  time.textContent = date.toLocaleString(undefined, options);
  time.title = date.toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
}

messages.querySelectorAll("time").forEach(localise);

// The newest message stays in sight, unless the reader has scrolled away from it:
// when the list grows, and also when a phone's keyboard makes its box smaller.
let following = true;
let top = 0;
log.addEventListener("scroll", () => {
  const atBottom = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  // By the time this runs the list may have grown again: only going up is leaving.
  following = atBottom || (following && log.scrollTop >= top);
  top = log.scrollTop;
});
const observer = new ResizeObserver(() => {
  if (following) log.scrollTop = log.scrollHeight;
});
observer.observe(messages);
observer.observe(log);
