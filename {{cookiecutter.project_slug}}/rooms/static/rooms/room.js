import { Socket, showStatus } from "../realtime/client.js";

const messages = document.querySelector("#messages");
const log = messages.parentElement;
const template = document.querySelector("#message");
const form = document.querySelector("#message-form");
const input = document.querySelector("#message-input");
const error = document.querySelector("#room-error");
const replica = document.querySelector("#replica");

let you = "";

const socket = new Socket(`ws/rooms/${messages.dataset.room}/`, { json: true });
showStatus(socket, document.querySelector("#room-status"));

const handlers = {
  welcome(welcome) {
    you = welcome.you;
    replica.textContent = `Answered by replica ${welcome.replica}`;
  },
  message: show,
  error({ detail }) {
    error.textContent = detail;
  },
};
socket.addEventListener("message", ({ detail }) => handlers[detail.type]?.(detail));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text) return;
  if (socket.send(JSON.stringify({ type: "say", text }))) {
    input.value = "";
    error.textContent = "";
  } else {
    error.textContent = "Not sent: there is no connection. Try again when it is back.";
  }
});

function show({ id, author, text, sent_at }) {
  if (messages.querySelector(`[data-id="${id}"]`)) return;
  const item = template.content.cloneNode(true).querySelector("li");
  item.dataset.id = id;
  item.classList.toggle("mine", author === you);
  item.querySelector(".author").textContent = author;
  item.querySelector("time").dateTime = sent_at;
  item.querySelector("p").textContent = text;
  localise(item.querySelector("time"));
  // Two replicas may deliver out of order; ids are given in order.
  const next = [...messages.children].find((other) => Number(other.dataset.id) > id) ?? null;
  messages.insertBefore(item, next);
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
