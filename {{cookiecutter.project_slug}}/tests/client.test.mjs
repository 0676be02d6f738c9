// node --test tests/client.test.mjs
//
// No package.json declares client.js to be a module. Node detects that since 20.19
// (https://nodejs.org/api/packages.html#syntax-detection). This file is a module by its suffix.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import {
  CloseCode,
  RealtimeSocket,
  STATUS_TEXTS,
  newKey,
  pageTexts,
  showStatus,
} from "../realtime/static/realtime/client.js";

class FakeWebSocket {
  static OPEN = 1;
  /** @type {FakeWebSocket[]} */
  static all = [];
  static get last() {
    return FakeWebSocket.all.at(-1);
  }

  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = String(url);
    FakeWebSocket.all.push(this);
  }
  send(data) {
    this.sent.push(data);
  }
  close() {
    this.readyState = 2;
  }

  // Events from the server and the network:
  accept() {
    this.readyState = 1;
    this.onopen?.();
  }
  deliver(data) {
    this.onmessage?.({ data: typeof data === "string" ? data : JSON.stringify(data) });
  }
  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

const socketCount = () => FakeWebSocket.all.length;
let network;
/** The page's <template class="texts"> elements. */
let templates;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(Math, "random", () => 0.5);
  FakeWebSocket.all = [];
  network = { onLine: true };
  templates = [];
  const page = {
    WebSocket: FakeWebSocket,
    document: Object.assign(new EventTarget(), {
      documentElement: { dataset: { root: "/" } },
      hidden: false,
      querySelectorAll: (selector) => (selector === "template.texts" ? templates : []),
    }),
    location: new URL("http://testserver/rooms/lobby/?page=2"),
    navigator: network,
    window: new EventTarget(),
  };
  for (const [name, value] of Object.entries(page)) {
    // Newer versions of Node have a WebSocket and a navigator of their own, behind getters.
    Object.defineProperty(globalThis, name, { value, configurable: true });
  }
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

function setNetwork(state) {
  network.onLine = state === "online";
  window.dispatchEvent(new Event(state));
}

function setVisibility(visibility) {
  document.hidden = visibility === "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
}

/** Adds a <template class="texts"> to the page. */
function addTexts(texts) {
  const children = Object.entries(texts).map(([text, textContent]) => ({
    dataset: { text },
    textContent,
  }));
  templates.push({ content: { children } });
}

function record(socket, type) {
  const details = [];
  socket.addEventListener(type, ({ detail }) => details.push(detail));
  return details;
}

/** Drops the connection, advances the clock until it reconnects, and returns the delay. */
function dropAndReconnect(socket, code) {
  FakeWebSocket.last.drop(code);
  const { retryInMs } = socket.status;
  mock.timers.tick(retryInMs);
  return retryInMs;
}

describe("The URL", () => {
  test("is relative to the root of the site, not to the page", () => {
    new RealtimeSocket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/ws/echo/");
  });

  test("keeps the prefix under which the site is mounted", () => {
    document.documentElement.dataset.root = "/prefix/";
    new RealtimeSocket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/prefix/ws/echo/");
  });

  test("is wss: on an https: page", () => {
    location.protocol = "https:";
    new RealtimeSocket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "wss://testserver/ws/echo/");
  });
});

describe("Messages", () => {
  test("are dispatched as text without the option json", () => {
    const text = record(new RealtimeSocket("ws/echo/"), "message");
    FakeWebSocket.last.deliver('{"a": 1}');
    FakeWebSocket.last.deliver("not JSON");
    assert.deepEqual(text, ['{"a": 1}', "not JSON"]);
  });

  test("are dispatched parsed with the option json", () => {
    const values = record(new RealtimeSocket("ws/rooms/lobby/", { json: true }), "message");
    FakeWebSocket.last.deliver('{"a": 1}');
    assert.deepEqual(values, [{ a: 1 }]);
  });

  test("are sent only over an open connection", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const ws = FakeWebSocket.last;
    assert.equal(socket.send("too early"), false);
    ws.accept();
    assert.equal(socket.send("in time"), true);
    ws.drop();
    assert.equal(socket.send("too late"), false);
    assert.deepEqual(ws.sent, ["in time"]);
  });
});

describe("The position", () => {
  const stream = "room.lobby";
  const room = (...positions) => new RealtimeSocket("ws/rooms/lobby/", { json: true, positions });
  const message = (epoch, seq) => ({ type: "message", stream, epoch, seq, data: { id: seq } });
  const subscribed = (epoch, seq, recovered) => ({
    type: "subscribed",
    stream,
    epoch,
    seq,
    recovered,
  });
  /** Drops the connection; returns the positions in the URL of the next one. */
  function resumePositions(socket) {
    dropAndReconnect(socket);
    return new URL(FakeWebSocket.last.url).searchParams.getAll("position");
  }

  test("of each stream that the page shows is in the URL", () => {
    room("room.lobby:1763981234567-42", "a-b_c.d:0-0");
    const { searchParams } = new URL(FakeWebSocket.last.url);
    assert.deepEqual(searchParams.getAll("position"), [
      "room.lobby:1763981234567-42",
      "a-b_c.d:0-0",
    ]);
  });

  test("is left out of the URL if it is empty", () => {
    room("");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/ws/rooms/lobby/");
  });

  test("advances with every message", () => {
    const socket = room("room.lobby:1-42", "notices:1-1");
    FakeWebSocket.last.deliver(message(1, 43));
    FakeWebSocket.last.deliver(message(1, 44));
    assert.deepEqual(resumePositions(socket), ["room.lobby:1-44", "notices:1-1"]);
    FakeWebSocket.last.deliver(message(2, 1));
    assert.deepEqual(resumePositions(socket), ["room.lobby:2-1", "notices:1-1"]);
  });

  test("is set by the server's subscribed message, which is not dispatched", () => {
    const socket = room();
    const messages = record(socket, "message");
    FakeWebSocket.last.deliver(subscribed(1, 42, true));
    assert.deepEqual(resumePositions(socket), ["room.lobby:1-42"]);
    FakeWebSocket.last.deliver(subscribed(2, 3, false));
    assert.deepEqual(resumePositions(socket), ["room.lobby:2-3"]);
    assert.deepEqual(messages, []);
  });

  test("identifies duplicates, which are not dispatched", () => {
    const socket = room("room.lobby:1-42");
    const messages = record(socket, "message");
    const sent = [message(1, 42), message(1, 43), message(1, 43), message(1, 9), message(1, 44)];
    for (const each of sent) FakeWebSocket.last.deliver(each);
    assert.deepEqual(messages, [message(1, 43), message(1, 44)]);
    assert.deepEqual(resumePositions(socket), ["room.lobby:1-44"]);
  });

  test("is replaced when the epoch changes, even to an older one", () => {
    const socket = room("room.lobby:2-42");
    const messages = record(socket, "message");
    FakeWebSocket.last.deliver(message(3, 1));
    FakeWebSocket.last.deliver(subscribed(1, 0, false));
    FakeWebSocket.last.deliver(message(1, 1));
    assert.deepEqual(messages, [message(3, 1), message(1, 1)]);
  });

  test("is not changed by messages outside a stream", () => {
    const socket = room("room.lobby:1-42");
    const messages = record(socket, "message");
    const sent = [{ type: "welcome" }, { type: "presence", stream, members: ["ada"] }, null, 1];
    for (const each of sent) FakeWebSocket.last.deliver(each);
    assert.deepEqual(messages, sent);
    assert.deepEqual(resumePositions(socket), ["room.lobby:1-42"]);
  });

  test("dispatches stale each time it is not recovered", () => {
    const socket = room("room.lobby:1-42");
    const stale = record(socket, "stale");
    FakeWebSocket.last.deliver(subscribed(1, 42, true));
    assert.deepEqual(stale, []);
    FakeWebSocket.last.deliver(subscribed(1, 50, false));
    FakeWebSocket.last.deliver(subscribed(2, 0, false));
    assert.deepEqual(stale, [{ stream }, { stream }]);
  });

  test("is ignored without the option json", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const text = record(socket, "message");
    for (const each of [subscribed(1, 1, false), message(1, 1), message(1, 1), { type: "pong" }]) {
      FakeWebSocket.last.deliver(each);
    }
    assert.equal(text.length, 4);
    assert.deepEqual(resumePositions(socket), []);
  });
});

describe("Data passed to sendReliably()", () => {
  test("is sent at once over an open connection", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.accept();
    socket.sendReliably("a", "one");
    assert.deepEqual(FakeWebSocket.last.sent, ["one"]);
  });

  test("is sent in order on every new connection until it is acknowledged", () => {
    const socket = new RealtimeSocket("ws/echo/");
    for (const each of ["one", "two", "three"]) socket.sendReliably(each, each);
    assert.deepEqual(FakeWebSocket.last.sent, []);
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "two", "three"]);

    socket.acknowledge("two");
    dropAndReconnect(socket);
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "three"]);
  });

  test("is sent once, and before data from a status listener", () => {
    const socket = new RealtimeSocket("ws/echo/");
    socket.sendReliably("a", "one");
    socket.addEventListener("status", ({ detail: { state } }) => {
      if (state === "open") socket.sendReliably("b", "two");
    });
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "two"]);
  });

  test("has a unique key, also without crypto.randomUUID", () => {
    const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
    const own = mock.method(crypto, "randomUUID", () => "its own");
    assert.equal(newKey(), "its own");
    own.mock.restore();
    const { randomUUID } = crypto;
    Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
    try {
      const keys = Array.from({ length: 50 }, newKey);
      for (const key of keys) assert.match(key, uuid);
      assert.equal(new Set(keys).size, 50);
    } finally {
      Object.defineProperty(crypto, "randomUUID", { value: randomUUID, configurable: true });
    }
  });
});

describe("Silence", () => {
  const PING = '{"type": "ping"}';
  /** A JSON socket that has been open for longer than STABLE_MS. */
  function opened() {
    const socket = new RealtimeSocket("ws/rooms/lobby/", { json: true });
    FakeWebSocket.last.accept();
    mock.timers.tick(20_000);
    FakeWebSocket.last.deliver({ type: "pong" });
    return socket;
  }

  test("leads to a ping every 25 seconds", () => {
    const socket = opened();
    const ws = FakeWebSocket.last;
    mock.timers.tick(24_999);
    assert.deepEqual(ws.sent, []);
    mock.timers.tick(1);
    assert.deepEqual(ws.sent, [PING]);
    mock.timers.tick(9_999);
    ws.deliver({ type: "pong" });
    mock.timers.tick(24_999);
    assert.deepEqual(ws.sent, [PING]);
    mock.timers.tick(1);
    assert.deepEqual(ws.sent, [PING, PING]);
    assert.equal(socket.status.state, "open");
  });

  test("is ended by any message", () => {
    opened();
    mock.timers.tick(24_000);
    FakeWebSocket.last.deliver({ type: "welcome" });
    mock.timers.tick(24_999);
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });

  test("ends with a pong, which is not dispatched", () => {
    const socket = opened();
    const messages = record(socket, "message");
    FakeWebSocket.last.deliver({ type: "pong" });
    assert.deepEqual(messages, []);
  });

  test("after a ping ends the connection, and a new one is opened", () => {
    const socket = opened();
    const ws = FakeWebSocket.last;
    const messages = record(socket, "message");
    mock.timers.tick(25_000);
    mock.timers.tick(9_999);
    assert.equal(socket.status.state, "open");
    mock.timers.tick(1);
    assert.deepEqual(socket.status, { state: "waiting", code: undefined, retryInMs: 250 });
    assert.equal(ws.readyState, 2);
    mock.timers.tick(250);
    assert.equal(socketCount(), 2);

    // Late events of the abandoned connection are ignored.
    ws.deliver({ type: "late" });
    ws.drop(4401);
    assert.deepEqual(socket.status, { state: "connecting" });
    assert.deepEqual(messages, []);
    FakeWebSocket.last.accept();
    assert.deepEqual(socket.status, { state: "open" });
  });

  test("during the handshake ends the attempt", () => {
    const socket = new RealtimeSocket("ws/rooms/lobby/", { json: true });
    mock.timers.tick(25_000);
    mock.timers.tick(9_999);
    assert.equal(socket.status.state, "connecting");
    mock.timers.tick(1);
    assert.equal(socket.status.state, "waiting");
    mock.timers.tick(250);
    assert.equal(socketCount(), 2);
    FakeWebSocket.all[0].accept();
    assert.equal(socket.status.state, "connecting");
  });

  test("is not measured without a connection", () => {
    const socket = opened();
    network.onLine = false;
    FakeWebSocket.last.drop();
    const states = record(socket, "status");
    mock.timers.tick(100_000);
    assert.deepEqual(states, []);
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });

  test("is ignored without the option json", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.accept();
    setVisibility("visible");
    mock.timers.tick(100_000);
    assert.deepEqual(FakeWebSocket.last.sent, []);
    assert.equal(socket.status.state, "open");
  });

  const occasions = {
    "the page becomes visible": () => setVisibility("visible"),
    "the network is back": () => setNetwork("online"),
  };
  for (const [occasion, arrange] of Object.entries(occasions)) {
    test(`during the handshake ends the attempt after 10 seconds when ${occasion}`, () => {
      const socket = new RealtimeSocket("ws/rooms/lobby/", { json: true });
      arrange();
      mock.timers.tick(10_000);
      assert.equal(socket.status.state, "waiting");
    });

    test(`is checked with a ping at once when ${occasion}`, () => {
      const socket = opened();
      mock.timers.tick(24_000);
      arrange();
      assert.deepEqual(FakeWebSocket.last.sent, [PING]);
      mock.timers.tick(9_999);
      assert.equal(socket.status.state, "open");
      mock.timers.tick(1);
      assert.equal(socket.status.state, "waiting");
    });
  }

  test("is not checked when the page is hidden or the network is lost", () => {
    opened();
    setVisibility("hidden");
    setNetwork("offline");
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });
});

describe("After a drop", () => {
  test("the socket reconnects", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const states = record(socket, "status");
    FakeWebSocket.last.accept();
    dropAndReconnect(socket);
    FakeWebSocket.last.accept();
    assert.deepEqual(states, [
      { state: "open" },
      { state: "waiting", code: 1006, retryInMs: 250 },
      { state: "connecting" },
      { state: "open" },
    ]);
    assert.equal(socketCount(), 2);
  });

  test("the delay doubles up to a maximum", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const delays = Array.from({ length: 8 }, () => dropAndReconnect(socket));
    assert.deepEqual(delays, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  test("the delay is drawn from the whole range between 0 and its maximum", () => {
    const socket = new RealtimeSocket("ws/echo/");
    Math.random.mock.mockImplementation(() => 0);
    assert.equal(dropAndReconnect(socket), 0);
    Math.random.mock.mockImplementation(() => 0.9);
    assert.equal(dropAndReconnect(socket), 900);
  });

  test("the delay is reset only after a connection has lasted 5 seconds", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const outages = [];
    for (const openMs of [4_999, 4_999, 5_000]) {
      FakeWebSocket.last.accept();
      mock.timers.tick(openMs);
      outages.push(dropAndReconnect(socket));
    }
    assert.deepEqual(outages, [250, 500, 250]);
  });

  test("the delay of a reconnect message is used once, and the message is not dispatched", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const messages = record(socket, "message");
    FakeWebSocket.last.accept();
    FakeWebSocket.last.deliver('{"type": "reconnect", "after_ms": 7000}');
    assert.equal(dropAndReconnect(socket, 1012), 7000);
    assert.notEqual(dropAndReconnect(socket), 7000);
    assert.deepEqual(messages, []);
  });

  for (const code of [4400, 4401, 4403, 4404, 4499]) {
    test(`the close code ${code} is final`, () => {
      const socket = new RealtimeSocket("ws/echo/");
      FakeWebSocket.last.drop(code);
      mock.timers.runAll();
      assert.deepEqual(socket.status, { state: "closed", code });
      assert.equal(socketCount(), 1);
    });
  }

  for (const code of [1000, 1001, 1012, 4000, 4399, 4408, 4429, 4500]) {
    test(`the close code ${code} is not final`, () => {
      const socket = new RealtimeSocket("ws/echo/");
      dropAndReconnect(socket, code);
      assert.equal(socketCount(), 2);
    });
  }
});

describe("Without a network", () => {
  test("the socket reconnects only when the network is back", () => {
    const socket = new RealtimeSocket("ws/echo/");
    network.onLine = false;
    FakeWebSocket.last.drop();
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "waiting", code: 1006 });
    assert.equal(socketCount(), 1);

    setNetwork("online");
    mock.timers.runAll();
    assert.equal(socketCount(), 2);
  });

  test("a scheduled attempt is cancelled when the network is lost", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.drop();
    setNetwork("offline");
    mock.timers.runAll();
    assert.equal(socketCount(), 1);

    setNetwork("online");
    mock.timers.runAll();
    assert.equal(socketCount(), 2);
  });

  test("earlier failures do not count when the network is back", () => {
    const socket = new RealtimeSocket("ws/echo/");
    for (let i = 0; i < 5; i++) dropAndReconnect(socket);
    FakeWebSocket.last.drop();
    setNetwork("offline");
    setNetwork("online");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("a delay set by the server still applies when the network is back", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.deliver('{"type": "reconnect", "after_ms": 7000}');
    network.onLine = false;
    FakeWebSocket.last.drop(1012);
    setNetwork("online");
    assert.equal(socket.status.retryInMs, 7000);
  });
});

describe("While the page is hidden", () => {
  test("an open connection stays open", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.accept();
    setVisibility("hidden");
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "open" });
    assert.equal(FakeWebSocket.last.readyState, 1);
  });

  test("the socket reconnects only when the page becomes visible", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.accept();
    setVisibility("hidden");
    FakeWebSocket.last.drop();
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "waiting", code: 1006 });
    assert.equal(socketCount(), 1);

    setVisibility("visible");
    assert.equal(socket.status.retryInMs, 250);
    mock.timers.tick(250);
    assert.equal(socketCount(), 2);
  });

  test("a scheduled attempt is cancelled when the page is hidden", () => {
    const socket = new RealtimeSocket("ws/echo/");
    for (let i = 0; i < 5; i++) dropAndReconnect(socket);
    FakeWebSocket.last.drop();
    setVisibility("hidden");
    mock.timers.runAll();
    assert.equal(socketCount(), 6);

    setVisibility("visible");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("a returning network does not start an attempt", () => {
    const socket = new RealtimeSocket("ws/echo/");
    setNetwork("offline");
    FakeWebSocket.last.drop();
    setVisibility("hidden");
    setNetwork("online");
    mock.timers.runAll();
    assert.equal(socketCount(), 1);
    setVisibility("visible");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("a delay set by the server still applies when the page becomes visible", () => {
    const socket = new RealtimeSocket("ws/echo/");
    FakeWebSocket.last.deliver({ type: "reconnect", after_ms: 7000 });
    setVisibility("hidden");
    FakeWebSocket.last.drop(4000);
    setVisibility("visible");
    assert.equal(socket.status.retryInMs, 7000);
  });
});

describe("close()", () => {
  // Only real timers can be counted.
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

  const situations = {
    "while connecting": () => {},
    "while open": (ws) => ws.accept(),
    "while waiting": (ws) => ws.drop(),
    "while waiting for a pong": (ws) => {
      ws.accept();
      setVisibility("visible");
    },
    "while hidden": (ws) => {
      setVisibility("hidden");
      ws.drop();
    },
    "by a listener": (ws, socket) => {
      socket.addEventListener("status", () => socket.close());
      ws.drop();
    },
  };
  for (const [situation, arrange] of Object.entries(situations)) {
    test(`${situation} leaves no timer and no listener, and nothing reconnects`, () => {
      mock.timers.reset();
      const before = timers();
      const socket = new RealtimeSocket("ws/rooms/lobby/", { json: true });
      const ws = FakeWebSocket.last;
      arrange(ws, socket);
      socket.close();
      assert.equal(ws.readyState, 2);
      assert.equal(timers(), before);
      assert.equal(getEventListeners(window, "online").length, 0);
      assert.equal(getEventListeners(document, "visibilitychange").length, 0);

      setNetwork("online");
      setVisibility("visible");
      ws.drop();
      assert.equal(socketCount(), 1);
      assert.deepEqual(socket.status, { state: "closed", code: undefined });
    });
  }

  test("dispatches status once", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const states = record(socket, "status");
    socket.close();
    socket.close();
    assert.equal(states.length, 1);
  });
});

describe("showStatus", () => {
  test("has a text for every state", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    assert.equal(element.textContent, "Connecting…");
    FakeWebSocket.last.accept();
    assert.equal(element.textContent, "Connected");
    FakeWebSocket.last.drop();
    assert.equal(element.textContent, "Reconnecting…");
    setNetwork("offline");
    assert.equal(element.textContent, "You are offline.");
    setNetwork("online");
    assert.equal(element.textContent, "Reconnecting…");
    mock.timers.runAll();
    FakeWebSocket.last.drop(4401);
    assert.equal(element.textContent, "Log in again to reconnect.");
    assert.equal(element.dataset.state, "closed");
  });

  test("distinguishes a hidden page from a missing network", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    setVisibility("hidden");
    FakeWebSocket.last.drop();
    assert.equal(element.textContent, "Reconnecting…");
    setNetwork("offline");
    assert.equal(element.textContent, "You are offline.");
  });

  test("uses the state's text for an unknown close code", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    FakeWebSocket.last.drop(4400);
    assert.equal(element.textContent, "Disconnected");
  });

  test("announces an outage once, not every attempt", () => {
    const socket = new RealtimeSocket("ws/echo/");
    const announced = [];
    const element = {
      dataset: {},
      get textContent() {
        return announced.at(-1);
      },
      set textContent(text) {
        announced.push(text);
      },
    };
    showStatus(socket, element);
    for (let i = 0; i < 5; i++) dropAndReconnect(socket);
    assert.deepEqual(announced, ["Connecting…", "Reconnecting…"]);
  });

  test("uses the page's text for a state and for a close code", () => {
    addTexts({ connecting: "Verbinden …", 4401: "Bitte neu anmelden." });
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    assert.equal(element.textContent, "Verbinden …");
    FakeWebSocket.last.drop(CloseCode.NOT_AUTHENTICATED);
    assert.equal(element.textContent, "Bitte neu anmelden.");
  });

  test("uses the page's text for a state when a close code has none", () => {
    addTexts({ closed: "Getrennt" });
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    FakeWebSocket.last.drop(CloseCode.BAD_MESSAGE);
    assert.equal(element.textContent, "Getrennt");
  });

  test("falls back to English where the page has no text", () => {
    addTexts({ open: "Verbunden" });
    const socket = new RealtimeSocket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    assert.equal(element.textContent, "Connecting…");
    FakeWebSocket.last.accept();
    assert.equal(element.textContent, "Verbunden");
    FakeWebSocket.last.drop(CloseCode.FORBIDDEN);
    assert.equal(element.textContent, "You do not have access.");
  });

  test("has a text for every close code that users can act on", () => {
    const texts = {
      [CloseCode.NOT_AUTHENTICATED]: "Log in again to reconnect.",
      [CloseCode.FORBIDDEN]: "You do not have access.",
      [CloseCode.NOT_FOUND]: "This address does not exist.",
      [CloseCode.TOO_SLOW]: "Your connection is too slow. Reconnecting…",
      [CloseCode.LIMIT_EXCEEDED]: "Too many messages or connections. Reconnecting…",
    };
    for (const [code, text] of Object.entries(texts)) {
      const socket = new RealtimeSocket("ws/echo/");
      const element = { dataset: {}, textContent: "" };
      showStatus(socket, element);
      FakeWebSocket.last.drop(Number(code));
      assert.equal(element.textContent, text);
    }
  });
});

describe("pageTexts()", () => {
  test("is empty on a page without texts", () => {
    assert.deepEqual(pageTexts(), {});
  });

  test("merges all templates; later ones take precedence", () => {
    addTexts({ open: "Connected", 4403: "You do not have access." });
    addTexts({ sending: "sending…", 4403: "You do not have access to this room." });
    assert.deepEqual(pageTexts(), {
      open: "Connected",
      4403: "You do not have access to this room.",
      sending: "sending…",
    });
  });

  test("leaves out the white space around a text", () => {
    addTexts({ open: "\n  Connected now\n" });
    assert.deepEqual(pageTexts(), { open: "Connected now" });
  });

  test("finds every status text in base.html", () => {
    const html = readFileSync(new URL("../config/templates/base.html", import.meta.url), "utf8");
    const names = Array.from(html.matchAll(/ data-text="(\w+)"/g), ([, name]) => name);
    assert.deepEqual(names.toSorted(), Object.keys(STATUS_TEXTS).toSorted());
  });
});
