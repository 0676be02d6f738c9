"""The base class of all consumers, and those that every project has."""

import asyncio
import json
import logging
from collections import deque
from enum import IntEnum
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from config import contract
from realtime.brokers import Position
from realtime.hub import Subscription, TooSlow, hub
from realtime.presence import Member
from realtime.users import watch

logger = logging.getLogger(__name__)

# Messages of a client that wait behind the one being handled; together they are at most as large as
# two of the largest.
MAX_QUEUED = 100
# Streams of which a client may say where it was.
MAX_POSITIONS = 100
# Seconds that a handler has to finish when its client has left.
FINISH_SECONDS = 5


class CloseCode(IntEnum):
    """Why the application closes a socket.

    All are in 4000-4999, the only range that every server can send and every browser shows; the
    client takes 44xx as final, but for two. https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
    """

    RECONNECT = 4000
    NOT_AUTHENTICATED = 4401
    NOT_ALLOWED = 4403
    NOT_FOUND = 4404
    TOO_SLOW = 4408
    PROTOCOL_ERROR = 4409
    TOO_MANY = 4429
    SERVER_ERROR = 4500


def size(message: dict) -> int:
    """Return the size of what a client has sent, about; that of a handshake is 0."""
    return len(message.get("text") or message.get("bytes") or "")


def parse(text: str) -> object:
    """Read JSON as others can read it again.

    Raises:
        ValueError: it is not JSON, or has what no one else takes for it: NaN, and text that is not
            Unicode, as in "\\ud800", which no database takes; or it is nested too deeply.
    """
    try:
        content = json.loads(text, parse_constant=not_json)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content


def not_json(constant: str) -> None:
    """Refuse what Python takes for a number. https://www.rfc-editor.org/rfc/rfc8259#section-6"""
    raise ValueError(f"not JSON: {constant}")


class Refused(Exception):
    """Raised in a consumer to close its socket, with a code that says why."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code.name)
        self.code = code


class EchoConsumer(AsyncWebsocketConsumer):
    """Send back what came, text as text and bytes as bytes."""

    channel_layer_alias = None  # needs nobody else, so it costs Redis nothing

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class NotFoundConsumer(AsyncWebsocketConsumer):
    """Answer where there is no socket.

    A refusal before the handshake would reach a browser as a lost connection, and it would try
    again for ever: accept, then close with a code that says so.
    """

    channel_layer_alias = None
    code = CloseCode.NOT_FOUND

    async def connect(self) -> None:
        await self.accept()
        await self.close(self.code)


class TooManyConsumer(NotFoundConsumer):
    """Answer where a user has too many sockets."""

    code = CloseCode.TOO_MANY


class Consumer(AsyncWebsocketConsumer):
    """A socket that follows streams, and whose client sends JSON objects.

        class Notices(Consumer):
            async def connect(self):
                await super().connect()
                self.require_login()
                await self.subscribe(f"notices.{self.scope['user'].pk}")

            async def receive_json(self, content):
                ...

    - What is published in a stream is sent to the client, from where it was when it had lost its
      connection. One that reads too slowly is closed with 4408, and goes on from there.
    - Messages of the client are handled one after the other, beside the loop that receives them: a
      handler may take its time. What is no object closes the socket with 4409.
    - An exception in a handler closes with 4500, and is logged; Refused closes with its own code.
    - When its user logs out, is deactivated or gets another password, it is closed with 4401.
    """

    channel_layer_alias = None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.inbox: deque[dict] = deque()
        self.waiting = 0  # their sizes together
        self.sources: list[Subscription | Member] = []
        self.handling: asyncio.Task | None = None
        self.sending: asyncio.Task | None = None
        self.closed = False

    # For subclasses to call, or to define

    def require_login(self) -> None:
        """Refuse who has not logged in. Raises Refused."""
        if not self.scope["user"].is_authenticated:
            raise Refused(CloseCode.NOT_AUTHENTICATED)

    async def subscribe(self, stream: str, *, present: bool = False) -> None:
        """Follow a stream, from where the client says that it was, or from now.

        Args:
            stream: its name.
            present: whether the user is shown to the others as being here, and they to the user.

        Raises:
            TimeoutError, OSError, redis.RedisError: the stream cannot be had now.
        """
        position = self.position(stream)
        self.sources.append(await hub().subscribe(stream, position, self.send_soon))
        if present:
            name = self.scope["user"].get_username()
            self.sources.append(Member(stream, name, self.send_soon))
        self.send_soon()

    async def receive_json(self, content: dict) -> None:
        """Handle one message from the client."""
        raise Refused(CloseCode.PROTOCOL_ERROR)

    async def send_json(self, content: dict) -> None:
        """Send one message to the client."""
        await self.send(json.dumps(content))

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        self.closed = True
        await super().close(code, reason)

    # How it works

    def position(self, stream: str) -> Position | None:
        """Return where the client says that it was: `?position=room.lobby:1763981234567-42`.

        Raises:
            Refused: it says more than MAX_POSITIONS things.
        """
        query = self.scope.get("query_string", b"").decode("latin-1")
        try:
            positions = parse_qs(query, max_num_fields=MAX_POSITIONS).get("position", ())
        except ValueError:
            raise Refused(CloseCode.PROTOCOL_ERROR) from None
        for text in positions:
            name, _, position = text.rpartition(":")
            if name == stream:
                try:
                    return Position.parse(position)
                except ValueError:
                    logger.debug("not a position: %r", text)
        return None

    async def dispatch(self, message: dict) -> None:
        """Take what the server says: to receive goes on while what came before is handled."""
        match message["type"]:
            case "websocket.disconnect":
                await self.leave(message["code"])
                raise StopConsumer
            case _ if not self.closed:
                self.inbox.append(message)
                self.waiting += size(message)
                if not self.handling or self.handling.done():
                    self.handling = asyncio.create_task(self.handle())
                if len(self.inbox) >= MAX_QUEUED or self.waiting > contract.WS_MAX_MESSAGE_BYTES:
                    await asyncio.wait([self.handling])

    async def handle(self) -> None:
        """Handle what has come, in order."""
        try:
            while self.inbox and not self.closed:
                message = self.inbox.popleft()
                self.waiting -= size(message)
                await super().dispatch(message)
        except Refused as refused:
            await self.close(refused.code)
        except (RedisError, TimeoutError, ConnectionError) as error:
            logger.warning("a socket is closed because a service does not answer: %r", error)
            await self.close(CloseCode.SERVER_ERROR)
        except Exception:
            logger.exception("a socket is closed because of an error")
            await self.close(CloseCode.SERVER_ERROR)

    async def websocket_connect(self, message: dict) -> None:
        watch().remember(self)
        await super().websocket_connect(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            content = parse(text_data or "")
        except ValueError:
            content = None
        match content:
            case {"type": "ping"}:
                await self.send('{"type":"pong"}')
            case dict():
                await self.receive_json(content)
            case _:
                raise Refused(CloseCode.PROTOCOL_ERROR)

    def send_soon(self) -> None:
        """Send what there is in the streams, beside all else."""
        if not self.closed and (not self.sending or self.sending.done()):
            self.sending = asyncio.create_task(self.send_streams())

    async def send_streams(self) -> None:
        """Send what there is in the streams."""
        try:
            while not self.closed and (text := self.next()):
                await self.send(text)
        except TooSlow:
            await self.close(CloseCode.TOO_SLOW)

    def next(self) -> str | None:
        """Return what is to be sent next. Raises TooSlow if that is no longer known."""
        return next((text for source in self.sources if (text := source.next())), None)

    async def refuse(self) -> None:
        """Close, because the user has logged out."""
        await self.close(CloseCode.NOT_AUTHENTICATED)

    async def leave(self, code: int) -> None:
        """Finish what the client asked for, stop all that is done for it, and run disconnect()."""
        if self.handling:
            _, slow = await asyncio.wait([self.handling], timeout=FINISH_SECONDS)
            for task in slow:
                task.cancel()
                await asyncio.wait([task])
        self.closed = True
        if self.sending:
            self.sending.cancel()
        watch().forget(self)
        for source in self.sources:
            await source.leave()
        try:
            await self.disconnect(code)
        except Exception:
            logger.exception("an error while a socket was left")
