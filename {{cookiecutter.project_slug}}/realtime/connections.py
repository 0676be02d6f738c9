"""Who comes in, and how all leave: the limit of connections, and the drain before the end."""

import asyncio
import json
import logging
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from config import contract
from realtime.consumers import CloseCode
from realtime.leaving import RETRY_AFTER, SETTLE_SECONDS, first_in_line

logger = logging.getLogger(__name__)

# How soon a socket that was sent away comes back: at once, but not all at the same moment.
AFTER_MS = 1_000
# What consumers may take for their disconnect() before the server is told to end.
LEAVE_SECONDS = 5
# Seconds for which a client may have saved up what it may send.
BURST = 20
# Between two looks at whether `manage.py drain` wants something.
LOOK_SECONDS = 1


class Connections:
    """ASGI middleware that counts the requests and sockets under way in this process.

    - One more than `most` is answered 503. Servers count differently, or not at all; some refuse
      pages for the sake of WebSockets.
    - A socket whose client sends more than WS_MESSAGE_RATE is closed with 4429.
    - SIGTERM drains it: the sockets are sent away, one after the other, and what their consumers do
      on a disconnect is done, before the server gets the signal. Most servers would drop them.
    - After about `requests` requests the process drains itself, and ends.

    Args:
        application: the ASGI application, for HTTP and WebSocket. Nobody asks it for a lifespan,
            which Channels does not answer: https://github.com/django/channels/issues/2018
        most: requests and sockets under way at a time.
        requests: how many requests and sockets until the process is replaced; 0 for never.
    """

    def __init__(
        self,
        application,
        most: int = contract.MAX_CONNECTIONS,
        requests: int = contract.MAX_REQUESTS,
    ) -> None:
        self.application = application
        self.most = most
        self.requests_left = requests + random.randint(0, requests // 10) if requests else -1
        self.under_way = 0
        self.sockets: set[Socket] = set()
        self.draining = False
        self.stopping = False
        self.watching: asyncio.Task | None = None
        self.recycling: asyncio.Task | None = None

    async def __call__(self, scope, receive, send) -> None:
        match scope["type"]:
            case "lifespan":
                await self.lifespan(receive, send)
            case _ if self.under_way >= self.most:
                await refuse(scope, receive, send)
            case "websocket" if self.draining:
                await refuse(scope, receive, send)
            case "websocket":
                await self.keep(scope, Socket(receive, send))
            case _:
                await self.count(scope, receive, last(send) if self.draining else send)

    async def keep(self, scope, socket: "Socket") -> None:
        """Run a socket, until it is too old: replicas even out, and no state is for ever."""
        age = contract.WS_MAX_AGE * random.uniform(0.9, 1.1)
        too_old = asyncio.get_running_loop().call_later(age, socket.send_away_soon)
        self.sockets.add(socket)
        try:
            await self.count(scope, socket.receive, socket.send)
            await socket.close_sent()
        finally:
            self.sockets.discard(socket)
            too_old.cancel()

    async def count(self, scope, receive, send) -> None:
        """Run the application, and count it meanwhile."""
        self.under_way += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self.under_way -= 1
            self.requests_left -= 1
            if self.requests_left == 0:
                self.recycling = asyncio.create_task(recycle())

    async def lifespan(self, receive, send) -> None:
        """Agree to the server's start and stop. https://asgi.readthedocs.io/en/stable/specs/lifespan.html"""
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                self.drain_on_sigterm()
                self.watching = asyncio.create_task(self.drain_by_hand())
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def drain_on_sigterm(self) -> None:
        """Put the drain before what the server does on SIGTERM, if it does anything."""
        stop = signal.getsignal(signal.SIGTERM)
        loop = asyncio.get_running_loop()

        def first_drain(number: int, frame) -> None:
            if not self.stopping:  # some supervisors send it twice
                self.stopping = True
                asyncio.run_coroutine_threadsafe(self.stop(lambda: stop(number, frame)), loop)

        if callable(stop):
            signal.signal(signal.SIGTERM, first_drain)

    async def drain_by_hand(self) -> None:
        """Drain, and take sockets again, as `manage.py drain` says."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            wanted = contract.DRAIN_FILE.exists()
            if wanted and not self.draining:
                await self.drain()
            elif not wanted and not self.stopping:
                self.draining = False

    async def stop(self, stop: Callable[[], None]) -> None:
        """Send all sockets away, then stop the server.

        Args:
            stop: what the server does when it is told to end.
        """
        async with asyncio.TaskGroup() as leaving:
            leaving.create_task(asyncio.sleep(SETTLE_SECONDS))
            leaving.create_task(self.drain())
        stop()

    async def drain(self) -> None:
        """Take no more sockets, and send away those that there are, over DRAIN_SECONDS."""
        self.draining = True
        sockets = list(self.sockets)
        logger.info("draining %d sockets", len(sockets))
        async with asyncio.TaskGroup() as leaving:
            for socket in sockets:
                leaving.create_task(socket.send_away())
                await asyncio.sleep(min(contract.DRAIN_SECONDS / len(sockets), 0.1))
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                while self.sockets:
                    await asyncio.sleep(0.05)
        logger.info("drained, with %d requests and sockets still under way", self.under_way)


class Socket:
    """An open WebSocket, between the server and the application.

    Args:
        receive: the server's.
        send: the server's.
    """

    __slots__ = (
        "_away",
        "_closing",
        "_code",
        "_counted_at",
        "_has_subprotocol",
        "_open",
        "_receive",
        "_receiving",
        "_send",
        "_tokens",
    )

    def __init__(self, receive, send) -> None:
        self._receive = receive
        self._send = send
        self._open = False
        self._has_subprotocol = False
        self._away = False
        self._code: CloseCode | None = None
        self._closing: asyncio.Task | None = None
        self._receiving: asyncio.Task | None = None
        # https://en.wikipedia.org/wiki/Token_bucket
        self._tokens: float = BURST * contract.WS_MESSAGE_RATE
        self._counted_at = time.monotonic()

    async def receive(self) -> dict:
        """Return what the server has next, or that the socket was given up."""
        if not self._code:
            self._receiving = asyncio.current_task()
            try:
                message = await self._receive()
                if message["type"] != "websocket.receive" or self._may_come():
                    return message
            except asyncio.CancelledError:
                if not self._code:
                    raise
                self._receiving.uncancel()
            finally:
                self._receiving = None
            if self._send:
                self.give_up(self._send, CloseCode.TOO_MANY)
        return {"type": "websocket.disconnect", "code": self._code or CloseCode.TOO_MANY}

    def _may_come(self) -> bool:
        """Count a message, and say whether that is one too many."""
        now, rate = time.monotonic(), contract.WS_MESSAGE_RATE
        self._tokens = min(self._tokens + (now - self._counted_at) * rate, BURST * rate) - 1
        self._counted_at = now
        return self._tokens >= 0

    async def send(self, message: dict) -> None:
        """Pass on what the application sends, until the socket is closed, sent away, or gone.

        Some servers raise OSError then, which would end a consumer without its disconnect().
        """
        if not (send := self._send):
            return
        match message["type"]:
            case "websocket.accept":
                self._open = True
                self._has_subprotocol = message.get("subprotocol") is not None
            case "websocket.close":
                self._send = None
        try:
            async with asyncio.timeout(contract.WS_SEND_TIMEOUT):
                await send(message)
        except TimeoutError:
            self.give_up(send, CloseCode.TOO_SLOW)
        except OSError:
            self._send = None
        if self._away and self._open:
            self.send_away_soon()

    def give_up(self, send, code: CloseCode) -> None:
        """Close a socket whose client does not read: the application need not wait for that."""
        self._send, self._code = None, code
        close = {"type": "websocket.close", "code": code, "reason": code.name}
        self._closing = asyncio.create_task(send(close))
        if self._receiving:
            self._receiving.cancel()

    async def close_sent(self) -> None:
        """Wait until the client has read so far, or the server has found it dead."""
        if self._closing:
            dead = contract.WS_PING_INTERVAL + contract.WS_PING_TIMEOUT
            await asyncio.wait([self._closing], timeout=dead)
            self._closing.cancel()

    def send_away_soon(self) -> None:
        """Send it away, beside all else."""
        if self._send:
            self._closing = asyncio.create_task(self.send_away())

    async def send_away(self) -> None:
        """Ask the client to come back, to another process; the consumer is told that it has left.

        A socket with a subprotocol is only closed: the message might mean something else there.
        """
        self._away = True  # for one that is not open yet
        if not (self._open and self._send):
            return
        send, self._send = self._send, None
        text = json.dumps({"type": "reconnect", "after_ms": random.randint(0, AFTER_MS)})
        try:
            async with asyncio.timeout(contract.WS_SEND_TIMEOUT):
                if not self._has_subprotocol:
                    await send({"type": "websocket.send", "text": text})
                code, reason = CloseCode.RECONNECT, "reconnect"
                await send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self.give_up(send, CloseCode.TOO_SLOW)
        except Exception:  # it has gone; the others are to leave all the same
            logger.debug("a socket could not be sent away", exc_info=True)


def last(send):
    """Return a `send` that asks for the connection to be closed after this response."""

    async def send_last(message: dict) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = message | {"headers": headers}
        await send(message)

    return send_last


async def refuse(scope, receive, send) -> None:
    """Answer 503, to a WebSocket handshake too, where the server can.

    https://asgi.readthedocs.io/en/stable/extensions.html#websocket-denial-response
    """
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})
            return
        kind = "websocket.http.response"
    headers = [(b"retry-after", RETRY_AFTER), (b"content-length", b"0")]
    await send({"type": f"{kind}.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.body", "body": b""})


async def recycle() -> None:
    """End this process when no other one has just done so: all at once would leave nobody."""
    while not await first_in_line():
        await asyncio.sleep(1)
    logger.info("ending after MAX_REQUESTS")
    signal.raise_signal(signal.SIGTERM)
