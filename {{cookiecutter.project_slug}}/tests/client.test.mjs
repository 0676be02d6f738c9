// node --test tests/client.test.mjs
//
// There is no package.json to say that client.js is a module. Node finds that out
// by itself since 20.19 (https://nodejs.org/api/packages.html#syntax-detection);
// only this file needs to say so, with its ".mjs".

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { Socket, newKey, showStatus } from "../realtime/static/realtime/client.js";

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

  // What the server and the network do:
  accept() {
    this.readyState = 1;
    this.onopen?.();
  }
  says(data) {
    this.onmessage?.({ data: typeof data === "string" ? data : JSON.stringify(data) });
  }
  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

let sockets;
let network;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(Math, "random", () => 0.5);
  FakeWebSocket.all = [];
  sockets = () => FakeWebSocket.all.length;
  network = { onLine: true };
  const page = {
    WebSocket: FakeWebSocket,
    document: Object.assign(new EventTarget(), {
      documentElement: { dataset: { root: "/" } },
      hidden: false,
    }),
    location: new URL("http://testserver/rooms/lobby/?page=2"),
    navigator: network,
    window: new EventTarget(),
  };
  for (const [name, value] of Object.entries(page)) {
    // Newer versions of Node have their own WebSocket and navigator, behind getters.
    Object.defineProperty(globalThis, name, { value, configurable: true });
  }
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

function goes(state) {
  network.onLine = state === "online";
  window.dispatchEvent(new Event(state));
}

function becomes(visibility) {
  document.hidden = visibility === "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
}

function recorded(socket, type) {
  const details = [];
  socket.addEventListener(type, ({ detail }) => details.push(detail));
  return details;
}

/** Drops the connection, lets the wait pass, and returns how long it was. */
function outage(socket, code) {
  FakeWebSocket.last.drop(code);
  const { retryInMs } = socket.status;
  mock.timers.tick(retryInMs);
  return retryInMs;
}

describe("the address", () => {
  test("is found from the root of the site, not from the page", () => {
    new Socket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/ws/echo/");
  });

  test("keeps the prefix under which the site is mounted", () => {
    document.documentElement.dataset.root = "/prefix/";
    new Socket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/prefix/ws/echo/");
  });

  test("is encrypted when the page is", () => {
    location.protocol = "https:";
    new Socket("ws/echo/");
    assert.equal(FakeWebSocket.last.url, "wss://testserver/ws/echo/");
  });
});

describe("messages", () => {
  test("arrive as text unless JSON is asked for", () => {
    const text = recorded(new Socket("ws/echo/"), "message");
    FakeWebSocket.last.says('{"a": 1}');
    FakeWebSocket.last.says("not JSON");
    assert.deepEqual(text, ['{"a": 1}', "not JSON"]);
  });

  test("arrive parsed when JSON is asked for", () => {
    const values = recorded(new Socket("ws/rooms/lobby/", { json: true }), "message");
    FakeWebSocket.last.says('{"a": 1}');
    assert.deepEqual(values, [{ a: 1 }]);
  });

  test("are sent only while the connection is open", () => {
    const socket = new Socket("ws/echo/");
    const ws = FakeWebSocket.last;
    assert.equal(socket.send("too early"), false);
    ws.accept();
    assert.equal(socket.send("in time"), true);
    ws.drop();
    assert.equal(socket.send("too late"), false);
    assert.deepEqual(ws.sent, ["in time"]);
  });
});

describe("a position", () => {
  const stream = "room.lobby";
  const room = (...positions) => new Socket("ws/rooms/lobby/", { json: true, positions });
  const message = (epoch, seq) => ({ type: "message", stream, epoch, seq, data: { id: seq } });
  const subscribed = (epoch, seq, recovered) => ({
    type: "subscribed",
    stream,
    epoch,
    seq,
    recovered,
  });
  /** Loses the connection; returns the positions that the next one is opened with. */
  function asked(socket) {
    outage(socket);
    return new URL(FakeWebSocket.last.url).searchParams.getAll("position");
  }

  test("of each stream that the page shows is sent", () => {
    room("room.lobby:1763981234567-42", "a-b_c.d:0-0");
    const { searchParams } = new URL(FakeWebSocket.last.url);
    assert.deepEqual(searchParams.getAll("position"), [
      "room.lobby:1763981234567-42",
      "a-b_c.d:0-0",
    ]);
  });

  test("that the page does not know is not sent", () => {
    room("");
    assert.equal(FakeWebSocket.last.url, "ws://testserver/ws/rooms/lobby/");
  });

  test("moves on with every message", () => {
    const socket = room("room.lobby:1-42", "notices:1-1");
    FakeWebSocket.last.says(message(1, 43));
    FakeWebSocket.last.says(message(1, 44));
    assert.deepEqual(asked(socket), ["room.lobby:1-44", "notices:1-1"]);
    FakeWebSocket.last.says(message(2, 1));
    assert.deepEqual(asked(socket), ["room.lobby:2-1", "notices:1-1"]);
  });

  test("is set by the server, unseen by the page", () => {
    const socket = room();
    const messages = recorded(socket, "message");
    FakeWebSocket.last.says(subscribed(1, 42, true));
    assert.deepEqual(asked(socket), ["room.lobby:1-42"]);
    FakeWebSocket.last.says(subscribed(2, 3, false));
    assert.deepEqual(asked(socket), ["room.lobby:2-3"]);
    assert.deepEqual(messages, []);
  });

  test("tells what has been here before", () => {
    const socket = room("room.lobby:1-42");
    const messages = recorded(socket, "message");
    const sent = [message(1, 42), message(1, 43), message(1, 43), message(1, 9), message(1, 44)];
    for (const each of sent) FakeWebSocket.last.says(each);
    assert.deepEqual(messages, [message(1, 43), message(1, 44)]);
    assert.deepEqual(asked(socket), ["room.lobby:1-44"]);
  });

  test("starts over with another epoch, even an older one", () => {
    const socket = room("room.lobby:2-42");
    const messages = recorded(socket, "message");
    FakeWebSocket.last.says(message(3, 1));
    FakeWebSocket.last.says(subscribed(1, 0, false));
    FakeWebSocket.last.says(message(1, 1));
    assert.deepEqual(messages, [message(3, 1), message(1, 1)]);
  });

  test("is left alone by what is no message of a stream", () => {
    const socket = room("room.lobby:1-42");
    const messages = recorded(socket, "message");
    const sent = [{ type: "welcome" }, { type: "presence", stream, here: ["ada"] }, null, 1];
    for (const each of sent) FakeWebSocket.last.says(each);
    assert.deepEqual(messages, sent);
    assert.deepEqual(asked(socket), ["room.lobby:1-42"]);
  });

  test("that is not known any more makes the page stale, each time", () => {
    const socket = room("room.lobby:1-42");
    const stale = recorded(socket, "stale");
    FakeWebSocket.last.says(subscribed(1, 42, true));
    assert.deepEqual(stale, []);
    FakeWebSocket.last.says(subscribed(1, 50, false));
    FakeWebSocket.last.says(subscribed(2, 0, false));
    assert.deepEqual(stale, [{ stream }, { stream }]);
  });

  test("means nothing where JSON is not asked for", () => {
    const socket = new Socket("ws/echo/");
    const text = recorded(socket, "message");
    for (const each of [subscribed(1, 1, false), message(1, 1), message(1, 1), { type: "pong" }]) {
      FakeWebSocket.last.says(each);
    }
    assert.equal(text.length, 4);
    assert.deepEqual(asked(socket), []);
  });
});

describe("what is kept", () => {
  test("is sent at once over an open connection", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.accept();
    socket.keep("a", "one");
    assert.deepEqual(FakeWebSocket.last.sent, ["one"]);
  });

  test("is sent in order on every new connection until it is forgotten", () => {
    const socket = new Socket("ws/echo/");
    for (const each of ["one", "two", "three"]) socket.keep(each, each);
    assert.deepEqual(FakeWebSocket.last.sent, []);
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "two", "three"]);

    socket.forget("two");
    outage(socket);
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "three"]);
  });

  test("comes before what a listener sends, and only once", () => {
    const socket = new Socket("ws/echo/");
    socket.keep("a", "one");
    socket.addEventListener("status", ({ detail: { state } }) => {
      if (state === "open") socket.keep("b", "two");
    });
    FakeWebSocket.last.accept();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", "two"]);
  });

  test("has a key like no other, also without the browser's own function", () => {
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

describe("silence", () => {
  const PING = '{"type": "ping"}';
  /** A socket that speaks JSON and has been open for longer than failures count. */
  function opened() {
    const socket = new Socket("ws/rooms/lobby/", { json: true });
    FakeWebSocket.last.accept();
    mock.timers.tick(20_000);
    FakeWebSocket.last.says({ type: "pong" });
    return socket;
  }

  test("is broken by a ping, again and again", () => {
    const socket = opened();
    const ws = FakeWebSocket.last;
    mock.timers.tick(24_999);
    assert.deepEqual(ws.sent, []);
    mock.timers.tick(1);
    assert.deepEqual(ws.sent, [PING]);
    mock.timers.tick(9_999);
    ws.says({ type: "pong" });
    mock.timers.tick(24_999);
    assert.deepEqual(ws.sent, [PING]);
    mock.timers.tick(1);
    assert.deepEqual(ws.sent, [PING, PING]);
    assert.equal(socket.status.state, "open");
  });

  test("is broken by any message", () => {
    opened();
    mock.timers.tick(24_000);
    FakeWebSocket.last.says({ type: "welcome" });
    mock.timers.tick(24_999);
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });

  test("is not shown to the page when it ends", () => {
    const socket = opened();
    const messages = recorded(socket, "message");
    FakeWebSocket.last.says({ type: "pong" });
    assert.deepEqual(messages, []);
  });

  test("without an answer ends the connection, and another one is opened soon", () => {
    const socket = opened();
    const ws = FakeWebSocket.last;
    const messages = recorded(socket, "message");
    mock.timers.tick(25_000);
    mock.timers.tick(9_999);
    assert.equal(socket.status.state, "open");
    mock.timers.tick(1);
    assert.deepEqual(socket.status, { state: "waiting", code: undefined, retryInMs: 250 });
    assert.equal(ws.readyState, 2);
    mock.timers.tick(250);
    assert.equal(sockets(), 2);

    // What the dead one still has to say is too late.
    ws.says({ type: "late" });
    ws.drop(4401);
    assert.deepEqual(socket.status, { state: "connecting" });
    assert.deepEqual(messages, []);
    FakeWebSocket.last.accept();
    assert.deepEqual(socket.status, { state: "open" });
  });

  test("instead of a handshake ends the attempt", () => {
    const socket = new Socket("ws/rooms/lobby/", { json: true });
    mock.timers.tick(25_000);
    mock.timers.tick(9_999);
    assert.equal(socket.status.state, "connecting");
    mock.timers.tick(1);
    assert.equal(socket.status.state, "waiting");
    mock.timers.tick(250);
    assert.equal(sockets(), 2);
    FakeWebSocket.all[0].accept();
    assert.equal(socket.status.state, "connecting");
  });

  test("ends with the connection", () => {
    const socket = opened();
    network.onLine = false;
    FakeWebSocket.last.drop();
    const states = recorded(socket, "status");
    mock.timers.tick(100_000);
    assert.deepEqual(states, []);
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });

  test("is normal where JSON is not asked for", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.accept();
    becomes("visible");
    mock.timers.tick(100_000);
    assert.deepEqual(FakeWebSocket.last.sent, []);
    assert.equal(socket.status.state, "open");
  });

  const returns = {
    "the page is looked at again": () => becomes("visible"),
    "the network is back": () => goes("online"),
  };
  for (const [occasion, arrange] of Object.entries(returns)) {
    test(`instead of a handshake is soon too long when ${occasion}`, () => {
      const socket = new Socket("ws/rooms/lobby/", { json: true });
      arrange();
      mock.timers.tick(10_000);
      assert.equal(socket.status.state, "waiting");
    });

    test(`is not waited for when ${occasion}`, () => {
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

  test("is left alone when the page or the network goes away", () => {
    opened();
    becomes("hidden");
    goes("offline");
    assert.deepEqual(FakeWebSocket.last.sent, []);
  });
});

describe("after a drop", () => {
  test("the socket connects again by itself", () => {
    const socket = new Socket("ws/echo/");
    const states = recorded(socket, "status");
    FakeWebSocket.last.accept();
    outage(socket);
    FakeWebSocket.last.accept();
    assert.deepEqual(states, [
      { state: "open" },
      { state: "waiting", code: 1006, retryInMs: 250 },
      { state: "connecting" },
      { state: "open" },
    ]);
    assert.equal(sockets(), 2);
  });

  test("the delay doubles up to a cap", () => {
    const socket = new Socket("ws/echo/");
    const delays = Array.from({ length: 8 }, () => outage(socket));
    assert.deepEqual(delays, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  test("the delay is drawn from the whole range below its ceiling", () => {
    const socket = new Socket("ws/echo/");
    Math.random.mock.mockImplementation(() => 0);
    assert.equal(outage(socket), 0);
    Math.random.mock.mockImplementation(() => 0.9);
    assert.equal(outage(socket), 900);
  });

  test("the delay starts over only once a connection has lasted", () => {
    const socket = new Socket("ws/echo/");
    const outages = [];
    for (const openMs of [4_999, 4_999, 5_000]) {
      FakeWebSocket.last.accept();
      mock.timers.tick(openMs);
      outages.push(outage(socket));
    }
    assert.deepEqual(outages, [250, 500, 250]);
  });

  test("the server may set the delay, once and unseen by the page", () => {
    const socket = new Socket("ws/echo/");
    const messages = recorded(socket, "message");
    FakeWebSocket.last.accept();
    FakeWebSocket.last.says('{"type": "reconnect", "after_ms": 7000}');
    assert.equal(outage(socket, 1012), 7000);
    assert.notEqual(outage(socket), 7000);
    assert.deepEqual(messages, []);
  });

  for (const code of [4400, 4401, 4403, 4404, 4499]) {
    test(`a close code of ${code} is final`, () => {
      const socket = new Socket("ws/echo/");
      FakeWebSocket.last.drop(code);
      mock.timers.runAll();
      assert.deepEqual(socket.status, { state: "closed", code });
      assert.equal(sockets(), 1);
    });
  }

  for (const code of [1000, 1001, 1012, 4000, 4399, 4408, 4429, 4500]) {
    test(`a close code of ${code} is not`, () => {
      const socket = new Socket("ws/echo/");
      outage(socket, code);
      assert.equal(sockets(), 2);
    });
  }
});

describe("without a network", () => {
  test("nothing is tried until it is back", () => {
    const socket = new Socket("ws/echo/");
    network.onLine = false;
    FakeWebSocket.last.drop();
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "waiting", code: 1006 });
    assert.equal(sockets(), 1);

    goes("online");
    mock.timers.runAll();
    assert.equal(sockets(), 2);
  });

  test("an attempt already planned is put off", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.drop();
    goes("offline");
    mock.timers.runAll();
    assert.equal(sockets(), 1);

    goes("online");
    mock.timers.runAll();
    assert.equal(sockets(), 2);
  });

  test("the failures before it was lost do not count", () => {
    const socket = new Socket("ws/echo/");
    for (let i = 0; i < 5; i++) outage(socket);
    FakeWebSocket.last.drop();
    goes("offline");
    goes("online");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("a delay set by the server still holds when it is back", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.says('{"type": "reconnect", "after_ms": 7000}');
    network.onLine = false;
    FakeWebSocket.last.drop(1012);
    goes("online");
    assert.equal(socket.status.retryInMs, 7000);
  });
});

describe("while nobody looks", () => {
  test("an open connection stays open", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.accept();
    becomes("hidden");
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "open" });
    assert.equal(FakeWebSocket.last.readyState, 1);
  });

  test("nothing is tried until somebody does", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.accept();
    becomes("hidden");
    FakeWebSocket.last.drop();
    mock.timers.runAll();
    assert.deepEqual(socket.status, { state: "waiting", code: 1006 });
    assert.equal(sockets(), 1);

    becomes("visible");
    assert.equal(socket.status.retryInMs, 250);
    mock.timers.tick(250);
    assert.equal(sockets(), 2);
  });

  test("an attempt already planned is put off", () => {
    const socket = new Socket("ws/echo/");
    for (let i = 0; i < 5; i++) outage(socket);
    FakeWebSocket.last.drop();
    becomes("hidden");
    mock.timers.runAll();
    assert.equal(sockets(), 6);

    becomes("visible");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("the network may come back, and is not used", () => {
    const socket = new Socket("ws/echo/");
    goes("offline");
    FakeWebSocket.last.drop();
    becomes("hidden");
    goes("online");
    mock.timers.runAll();
    assert.equal(sockets(), 1);
    becomes("visible");
    assert.equal(socket.status.retryInMs, 250);
  });

  test("a delay set by the server still holds for later", () => {
    const socket = new Socket("ws/echo/");
    FakeWebSocket.last.says({ type: "reconnect", after_ms: 7000 });
    becomes("hidden");
    FakeWebSocket.last.drop(4000);
    becomes("visible");
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
    "while waiting for an answer": (ws) => {
      ws.accept();
      becomes("visible");
    },
    "while hidden": (ws) => {
      becomes("hidden");
      ws.drop();
    },
    "by a listener": (ws, socket) => {
      socket.addEventListener("status", () => socket.close());
      ws.drop();
    },
  };
  for (const [situation, arrange] of Object.entries(situations)) {
    test(`${situation} leaves no timer and no way back`, () => {
      mock.timers.reset();
      const before = timers();
      const socket = new Socket("ws/rooms/lobby/", { json: true });
      const ws = FakeWebSocket.last;
      arrange(ws, socket);
      socket.close();
      assert.equal(ws.readyState, 2);
      assert.equal(timers(), before);
      assert.equal(getEventListeners(window, "online").length, 0);
      assert.equal(getEventListeners(document, "visibilitychange").length, 0);

      goes("online");
      becomes("visible");
      ws.drop();
      assert.equal(sockets(), 1);
      assert.deepEqual(socket.status, { state: "closed", code: undefined });
    });
  }

  test("is announced once", () => {
    const socket = new Socket("ws/echo/");
    const states = recorded(socket, "status");
    socket.close();
    socket.close();
    assert.equal(states.length, 1);
  });
});

describe("showStatus", () => {
  test("puts every state into words", () => {
    const socket = new Socket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    assert.equal(element.textContent, "Connecting…");
    FakeWebSocket.last.accept();
    assert.equal(element.textContent, "Connected");
    FakeWebSocket.last.drop();
    assert.equal(element.textContent, "Reconnecting…");
    goes("offline");
    assert.equal(element.textContent, "You are offline");
    goes("online");
    assert.equal(element.textContent, "Reconnecting…");
    mock.timers.runAll();
    FakeWebSocket.last.drop(4401);
    assert.equal(element.textContent, "Please log in again");
    assert.equal(element.dataset.state, "closed");
  });

  test("does not take a page that nobody looks at for one without a network", () => {
    const socket = new Socket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    becomes("hidden");
    FakeWebSocket.last.drop();
    assert.equal(element.textContent, "Reconnecting…");
    goes("offline");
    assert.equal(element.textContent, "You are offline");
  });

  test("has general words for a code it does not know", () => {
    const socket = new Socket("ws/echo/");
    const element = { dataset: {}, textContent: "" };
    showStatus(socket, element);
    FakeWebSocket.last.drop(4400);
    assert.equal(element.textContent, "Disconnected");
  });

  test("does not repeat itself at every attempt", () => {
    const socket = new Socket("ws/echo/");
    const said = [];
    const element = {
      dataset: {},
      get textContent() {
        return said.at(-1);
      },
      set textContent(words) {
        said.push(words);
      },
    };
    showStatus(socket, element);
    for (let i = 0; i < 5; i++) outage(socket);
    assert.deepEqual(said, ["Connecting…", "Reconnecting…"]);
  });
});
