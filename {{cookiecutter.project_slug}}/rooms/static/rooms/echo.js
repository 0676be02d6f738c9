import { RealtimeSocket, pageTexts, showStatus } from "../realtime/client.js";

const form = document.querySelector("#echo-form");
const input = document.querySelector("#echo-input");
const log = document.querySelector("#echo-log");
const line = document.querySelector("#echo-line");
const texts = pageTexts();

/** Lines without a reply, oldest first. */
let pending = [];

const socket = new RealtimeSocket("ws/echo/");
showStatus(socket, document.querySelector("#echo-status"));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value;
  const sentAt = performance.now();
  if (!text || !socket.send(text)) return;
  input.value = "";

  const item = line.content.cloneNode(true).querySelector("li");
  item.dataset.state = "pending";
  item.querySelector(".sent").textContent = text;
  pending.push({ item, text, sentAt });
  log.append(item);
  log.scrollTop = log.scrollHeight;
});

socket.addEventListener("message", ({ detail: text }) => {
  const receivedAt = performance.now();
  const index = pending.findIndex((sent) => sent.text === text);
  if (index === -1) return;
  const [{ item, sentAt }] = pending.splice(index, 1);
  item.dataset.state = "answered";
  item.querySelector(".answer").textContent = text;
  item.querySelector(".took").textContent = `${(receivedAt - sentAt).toFixed(1)} ms`;
});

socket.addEventListener("status", ({ detail: { state } }) => {
  if (state === "open") return;
  // A reply arrives over the connection on which the text was sent, or not at all.
  for (const { item } of pending) {
    item.dataset.state = "lost";
    item.querySelector(".answer").textContent = texts.unanswered;
  }
  pending = [];
});
