// node --test tests/client.test.mjs
//
// There is no package.json to say that client.js is a module. Node finds that out
// by itself since 20.19 (https://nodejs.org/api/packages.html#syntax-detection);
// only this file needs to say so, with its ".mjs".

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { Socket, showStatus } from "../realtime/static/realtime/client.js";

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
    this.onmessage?.({ data });
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
    document: { documentElement: { dataset: { root: "/" } } },
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

  for (const code of [1000, 1001, 1012, 4399, 4408, 4429, 4500]) {
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

describe("close()", () => {
  // Only real timers can be counted.
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

  const situations = {
    "while connecting": () => {},
    "while open": (ws) => ws.accept(),
    "while waiting": (ws) => ws.drop(),
    "by a listener": (ws, socket) => {
      socket.addEventListener("status", () => socket.close());
      ws.drop();
    },
  };
  for (const [situation, arrange] of Object.entries(situations)) {
    test(`${situation} leaves no timer and no way back`, () => {
      mock.timers.reset();
      const before = timers();
      const socket = new Socket("ws/echo/");
      const ws = FakeWebSocket.last;
      arrange(ws, socket);
      socket.close();
      assert.equal(ws.readyState, 2);
      assert.equal(timers(), before);
      assert.equal(getEventListeners(window, "online").length, 0);

      goes("online");
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
