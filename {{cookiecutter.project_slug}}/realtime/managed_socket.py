"""Managed sockets: limits for every WebSocket, and reconnect requests on drain and at MAX_AGE."""

import asyncio
import logging
import random
import time
from enum import Enum, auto
from typing import Protocol, cast

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
    WebSocketCloseEvent,
)

from realtime import conf, protocol
from realtime.protocol import MESSAGE_RATE_REASON, CloseCode

logger = logging.getLogger(__name__)

# Maximum of the random delay, in milliseconds, that a client is asked to wait before it reconnects,
# so that the clients of a process do not reconnect at the same moment.
RECONNECT_AFTER_MS = 1_000
# Size of the token bucket: a burst may have as many messages as MESSAGE_RATE allows in this time.
BURST_SECONDS = 20


class SocketState(Enum):
    """The states of a managed socket, in their order."""

    CONNECTING = auto()
    """The handshake is not answered yet."""
    RECONNECT_ON_ACCEPT = auto()
    """The handshake is not answered yet; the client is asked to reconnect after the accept."""
    OPEN = auto()
    CLOSED = auto()
    """The close is sent, or the peer has disconnected. Nothing is sent any more."""
    ABORTED = auto()
    """Closed because of a limit. receive() returns a disconnect without waiting for the peer."""


class ManagedSocket:
    """Wraps the `receive` and `send` of one WebSocket to enforce limits and request reconnects.

    Args:
        receive: the server's ASGI callable.
        send: the server's ASGI callable.
    """

    __slots__ = (
        "_closing",
        "_code",
        "_counted_at",
        "_has_subprotocol",
        "_receive",
        "_receiving",
        "_send",
        "_tokens",
        "state",
    )

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.state = SocketState.CONNECTING
        self._receive = receive
        self._send = send
        self._has_subprotocol = False
        self._code = CloseCode.LIMIT_EXCEEDED
        self._closing: asyncio.Future[None] | None = None
        self._receiving: asyncio.Timeout | None = None
        # https://en.wikipedia.org/wiki/Token_bucket
        self._tokens: float = BURST_SECONDS * conf.settings().MESSAGE_RATE
        self._counted_at = time.monotonic()

    @property
    def is_aborted(self) -> bool:
        """Whether the socket was closed because of a limit."""
        return self.state is SocketState.ABORTED

    async def receive(self) -> ASGIReceiveEvent:
        """Return the server's next event; a disconnect if the socket is aborted meanwhile."""
        event: ASGIReceiveEvent | None = None
        if not self.is_aborted:
            try:
                # No deadline yet: `abort` sets one, which ends the wait.
                async with asyncio.timeout(None) as self._receiving:
                    event = await self._receive()
            except TimeoutError:
                if not self.is_aborted:
                    raise
            finally:
                self._receiving = None
        if event and (event["type"] != "websocket.receive" or self._is_within_rate()):
            return event
        if event and self.state not in (SocketState.CLOSED, SocketState.ABORTED):
            self.abort(CloseCode.LIMIT_EXCEEDED, MESSAGE_RATE_REASON)
        return {"type": "websocket.disconnect", "code": self._code, "reason": None}

    def _is_within_rate(self) -> bool:
        """Count a message, and return whether the client may send it."""
        now, rate = time.monotonic(), conf.settings().MESSAGE_RATE
        earned = (now - self._counted_at) * rate
        self._tokens = min(self._tokens + earned, BURST_SECONDS * rate) - 1
        self._counted_at = now
        return self._tokens >= 0

    async def send(self, event: ASGISendEvent) -> None:
        """Send an event of the application, unless the socket is closed.

        Some servers raise OSError when an application sends to a closed socket, which would end a
        consumer without its disconnect().
        """
        if self.state in (SocketState.CLOSED, SocketState.ABORTED):
            return
        must_reconnect = False
        if event["type"] == "websocket.accept":
            must_reconnect = self.state is SocketState.RECONNECT_ON_ACCEPT
            self.state = SocketState.OPEN
            self._has_subprotocol = event.get("subprotocol") is not None
        elif event["type"] == "websocket.close":
            self.state = SocketState.CLOSED
        try:
            async with asyncio.timeout(conf.settings().SEND_TIMEOUT):
                await self._send(event)
        except TimeoutError:
            self.abort(CloseCode.TOO_SLOW, CloseCode.TOO_SLOW.name)
        except OSError:
            if not self.is_aborted:
                self.state = SocketState.CLOSED
        if must_reconnect:
            self.request_reconnect_soon()

    def abort(self, code: CloseCode, reason: str) -> None:
        """Close the socket, and end receive() at once: the peer may never read the close frame."""
        if self.is_aborted:
            return
        self.state, self._code = SocketState.ABORTED, code
        self._closing = asyncio.ensure_future(self._send(close_event(code, reason)))
        if self._receiving:
            self._receiving.reschedule(asyncio.get_running_loop().time())

    async def wait_closed(self) -> None:
        """Wait until a pending close is sent, for at most PEER_TIMEOUT.

        By then the server has dropped a peer that answers no pings.
        """
        if self._closing:
            await asyncio.wait([self._closing], timeout=conf.settings().PEER_TIMEOUT)
            self._closing.cancel()

    def request_reconnect_soon(self) -> None:
        """Request a reconnect in a task of its own."""
        if self.state not in (SocketState.CLOSED, SocketState.ABORTED):
            self._closing = asyncio.create_task(self.request_reconnect())

    async def request_reconnect(self) -> None:
        """Ask the client to reconnect, and close the socket.

        A socket with a subprotocol is closed without the message, which is not part of the
        subprotocol.
        """
        if self.state is SocketState.CONNECTING:
            self.state = SocketState.RECONNECT_ON_ACCEPT
        if self.state is not SocketState.OPEN:
            return
        self.state = SocketState.CLOSED
        delay = random.randint(0, RECONNECT_AFTER_MS)  # noqa: S311
        try:
            async with asyncio.timeout(conf.settings().SEND_TIMEOUT):
                if not self._has_subprotocol:
                    text = protocol.reconnect(delay)
                    await self._send({"type": "websocket.send", "text": text, "bytes": None})
                await self._send(close_event(CloseCode.RECONNECT, protocol.MessageType.RECONNECT))
        except TimeoutError:
            self.abort(CloseCode.TOO_SLOW, CloseCode.TOO_SLOW.name)
        except Exception:  # the peer has disconnected; the other sockets must be asked all the same
            logger.debug("requesting a reconnect failed", exc_info=True)


def close_event(code: CloseCode, reason: str) -> WebSocketCloseEvent:
    """Return the event that closes a socket."""
    return {"type": "websocket.close", "code": code, "reason": reason}


class Drain(Protocol):
    """The part of serve.shutdown.Drain that is used here, from `scope["state"]["drain"]`."""

    @property
    def sockets(self) -> set[ManagedSocket]:
        """The sockets that are asked to reconnect before the process stops."""


class ManagedSocketMiddleware:
    """ASGI middleware that enforces limits on every WebSocket, and asks clients to reconnect.

    - If the client sends more than MESSAGE_RATE, the socket is closed with 4429.
    - If the client does not read a message within SEND_TIMEOUT, the socket is closed with 4408.
    - After MAX_AGE, plus or minus 10 %, the client is asked to reconnect (4000), which balances the
      replicas and bounds the age of a consumer's state.
    - When the process drains, the client is asked to reconnect (4000).
    """

    def __init__(self, app: ASGI3Application) -> None:
        self.app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        socket = ManagedSocket(receive, send)
        drain = cast(Drain | None, scope.get("state", {}).get("drain"))
        sockets = drain.sockets if drain else set[ManagedSocket]()
        age = conf.settings().MAX_AGE * random.uniform(0.9, 1.1)  # noqa: S311
        timer = asyncio.get_running_loop().call_later(age, socket.request_reconnect_soon)
        sockets.add(socket)
        try:
            await self.app(scope, socket.receive, socket.send)
            await socket.wait_closed()
        finally:
            sockets.discard(socket)
            timer.cancel()
