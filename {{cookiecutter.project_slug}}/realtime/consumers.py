"""`Consumer`, the base class of consumers that subscribe to streams."""

import asyncio
import json
import logging
from collections import deque
from typing import Any, NoReturn, cast
from urllib.parse import parse_qs

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
    WebSocketConnectEvent,
)
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from redis.exceptions import RedisError

from realtime import conf, protocol
from realtime.brokers.base import Position
from realtime.hub import hub
from realtime.presence import Member
from realtime.protocol import CloseCode, MessageType
from realtime.revocation import registry
from realtime.scopes import UserScope
from realtime.stream_cache import Subscription, TooSlow

logger = logging.getLogger(__name__)

# Maximum number of events that wait while a handler runs. Receiving also pauses when the waiting
# messages exceed MAX_MESSAGE_BYTES, where text is counted in characters.
MAX_QUEUED = 100
# Maximum number of query parameters in a handshake. Each stream position is one.
MAX_POSITIONS = 100
# Seconds that a handler may still run after its client has disconnected.
FINISH_SECONDS = 5


def message_size(event: dict[str, Any]) -> int:
    """Return the length of a client's message, in bytes or characters; 0 for other events."""
    if event["type"] != "websocket.receive":
        return 0
    return len(event.get("text") or event.get("bytes") or "")


def parse_json(text: str) -> Any:
    """Parse JSON strictly: accept only what other systems can parse, too.

    Raises:
        ValueError: the text is not JSON; or it contains NaN, Infinity, an integer of more than
            4,300 digits, or a lone surrogate such as "\\ud800", which has no UTF-8 encoding; or it
            is nested too deeply.
    """
    try:
        content = json.loads(text, parse_constant=refuse_constant)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity. https://www.rfc-editor.org/rfc/rfc8259#section-6"""
    raise ValueError(f"not JSON: {constant}")


class WebSocketException(Exception):
    """Raised in a consumer to close its WebSocket.

    Args:
        code: the close code.
        reason: text for the client, of at most 123 bytes.
    """

    def __init__(self, code: CloseCode, reason: str | None = None) -> None:
        super().__init__(reason or code.name)
        self.code = code
        self.reason = reason


class Consumer(AsyncJsonWebsocketConsumer):
    """A WebSocket consumer that subscribes to streams and receives JSON objects.

        class Notices(Consumer):
            async def connect(self):
                await super().connect()
                self.require_login()
                await self.subscribe(f"notices.{self.user.pk}")

            async def receive_json(self, content, **kwargs):
                ...

    - The client receives the messages of each stream, from the stream position that it sent in the
      handshake. If it reads too slowly, the WebSocket is closed with 4408; the client reconnects
      and recovers.
    - The client's messages are handled one at a time, in order. While a handler runs, up to
      MAX_QUEUED further ones are received. Anything but a JSON object closes the WebSocket with
      4400.
    - An exception in a handler is logged and closes the WebSocket with 4500. WebSocketException
      closes it with the code of your choice.
    - When the user logs out, is deactivated or changes the password, the WebSocket is closed with
      4401.
    - Groups of Channels work. A consumer without groups can set `channel_layer_alias = None`: its
      WebSockets then use no channel in Redis.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.closed = False
        self._accepted = False
        self._queue: deque[dict[str, Any]] = deque()
        self._queued_bytes = 0
        self._sources: list[Subscription | Member] = []
        self._handling: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None

    # For subclasses to call or override

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """The user of the session, who may be anonymous."""
        return cast(UserScope, self.scope)["user"]

    def require_login(self) -> None:
        """Close with 4401 unless the user is authenticated. Raises WebSocketException."""
        if not self.user.is_authenticated:
            raise WebSocketException(CloseCode.NOT_AUTHENTICATED)

    async def subscribe(self, stream: str, *, present: bool = False) -> None:
        """Subscribe to a stream, from the position that the client sent, or from the end.

        Args:
            stream: the name of the stream.
            present: whether to add the user to the stream's members, and to send the list of
                members to the client.

        Raises:
            WebSocketException: the client sent too many positions.
            TimeoutError, OSError, redis.RedisError: the broker does not answer.
        """
        position = self._position(stream)
        self._sources.append(await hub().subscribe(stream, position, self._send_streams_soon))
        if present:
            name = self.user.get_username()
            self._sources.append(Member(stream, name, self._send_streams_soon))
        self._send_streams_soon()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle a message from the client. By default, close with 4400."""
        raise WebSocketException(CloseCode.BAD_MESSAGE)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Parse a message strictly. Raises ValueError as parse_json() does."""
        return parse_json(text_data)

    async def accept(self, *args: Any, **kwargs: Any) -> None:
        """Accept the handshake."""
        self._accepted = True
        await super().accept(*args, **kwargs)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the WebSocket, and discard queued events and pending messages."""
        self.closed = True
        await super().close(code, reason)

    # Internals

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the consumer; close with 4500 if its channel cannot be created."""
        try:
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
        except (RedisError, OSError) as error:
            logger.warning("closing a socket, because the channel layer does not answer: %r", error)
            if not self._accepted:
                await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            code = CloseCode.SERVER_ERROR
            await send({"type": "websocket.close", "code": code, "reason": None})

    def _position(self, stream: str) -> Position | None:
        """Return the stream position that the client sent; None if it is missing or invalid.

        The query string has one for each stream: `?position=room.lobby:1763981234567-42`.

        Raises:
            WebSocketException: the query has more than MAX_POSITIONS fields.
        """
        query = self.scope.get("query_string", b"").decode("latin-1")
        try:
            positions = parse_qs(query, max_num_fields=MAX_POSITIONS).get("position", ())
        except ValueError:
            raise WebSocketException(CloseCode.BAD_MESSAGE, "too many positions") from None
        for text in positions:
            name, _, position = text.rpartition(":")
            if name == stream:
                try:
                    return Position.parse(position)
                except ValueError:
                    logger.debug("invalid position: %r", text)
        return None

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Queue incoming events, so that receiving continues while a handler runs."""
        if message["type"] == "websocket.disconnect":
            await self._leave(message["code"])
            raise StopConsumer
        if self.closed:
            return
        self._queue.append(message)
        self._queued_bytes += message_size(message)
        if not self._handling or self._handling.done():
            self._handling = asyncio.create_task(self._handle_queue())
        full = self._queued_bytes > conf.settings().MAX_MESSAGE_BYTES
        if full or len(self._queue) >= MAX_QUEUED:
            await asyncio.wait([self._handling])

    async def _handle_queue(self) -> None:
        """Handle the queued events, in order."""
        try:
            while self._queue and not self.closed:
                message = self._queue.popleft()
                self._queued_bytes -= message_size(message)
                await super().dispatch(message)
        except WebSocketException as error:
            await self.close(error.code, error.reason)
        except (RedisError, TimeoutError, ConnectionError) as error:
            name = type(self).__name__
            logger.warning("%s: a service does not answer, closing the WebSocket: %r", name, error)
            await self.close(CloseCode.SERVER_ERROR)
        except Exception:
            logger.exception("%s: handler failed, closing the WebSocket", type(self).__name__)
            await self.close(CloseCode.SERVER_ERROR)

    async def websocket_connect(self, message: WebSocketConnectEvent) -> None:
        """Register the socket for session revocation, and run connect()."""
        registry().register(self)
        await super().websocket_connect(message)
        if not (self._accepted or self.closed):
            raise RuntimeError(
                f"{type(self).__name__}.connect() neither accepted nor closed the socket. Call"
                " `await super().connect()` or `await self.accept()` in it."
            )

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Answer a ping, or pass a JSON object to receive_json()."""
        try:
            content = await self.decode_json(text_data or "")
        except ValueError:
            content = None
        match content:
            case {"type": MessageType.PING}:
                await self.send(protocol.PONG)
            case dict():
                await self.receive_json(content, **kwargs)
            case _:
                raise WebSocketException(CloseCode.BAD_MESSAGE, "not a JSON object")

    def _send_streams_soon(self) -> None:
        """Start a task that sends the pending messages, unless one is running."""
        if not self.closed and (not self._sending or self._sending.done()):
            self._sending = asyncio.create_task(self._send_streams())

    async def _send_streams(self) -> None:
        """Send the pending messages of all subscriptions and member lists."""
        try:
            while not self.closed and (text := self._next_text()):
                await self.send(text)
        except TooSlow:
            await self.close(CloseCode.TOO_SLOW)

    def _next_text(self) -> str | None:
        """Return the next pending message, or None. Raises TooSlow if it has left the cache."""
        for source in self._sources:
            if text := source.next_text():
                return text
        return None

    async def revoke(self) -> None:
        """Close with 4401: the session is no longer valid."""
        await self.close(CloseCode.NOT_AUTHENTICATED)

    async def _leave(self, code: int) -> None:
        """Handle the queued events within FINISH_SECONDS, end all tasks, and run disconnect()."""
        if self._handling:
            _, slow = await asyncio.wait([self._handling], timeout=FINISH_SECONDS)
            for task in slow:
                task.cancel()
                await asyncio.wait([task])
        self.closed = True
        if self._sending:
            self._sending.cancel()
        registry().unregister(self)
        for source in self._sources:
            await source.leave()
        try:
            for group in self.groups:
                await self.channel_layer.group_discard(group, self.channel_name)
        except (RedisError, OSError) as error:
            logger.warning("leaving a group failed: %r", error)
        try:
            await self.disconnect(code)
        except Exception:
            logger.exception("%s: disconnect() failed", type(self).__name__)
