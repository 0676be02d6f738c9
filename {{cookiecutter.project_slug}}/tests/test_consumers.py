"""The base consumer: messages, handlers, errors and queues."""

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AnonymousUser
from redis.exceptions import ConnectionError as NoRedis

from realtime import consumers
from realtime.brokers import memory
from realtime.consumers import Consumer, WebSocketException
from realtime.hub import hub
from realtime.protocol import CloseCode
from realtime.streams import apublish
from serve.request_id import RequestIdMiddleware, request_id
from tests.websockets import WebSocketClient, connect, running, until

ID = (b"x-request-id", b"7f3a")

pytestmark = pytest.mark.django_db(transaction=True)  # Channels closes old connections


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch):
    monkeypatch.setattr(memory, "streams", {})


class News(Consumer):
    """Subscribe to a stream, and call a function for each client message."""

    def __init__(self, do: Callable) -> None:
        super().__init__()
        self.do = do

    async def connect(self) -> None:
        await super().connect()
        await self.subscribe("news")

    async def receive_json(self, content: dict, **kwargs) -> None:
        await self.do(self, content)


async def answer(consumer: Consumer, content: dict) -> None:
    await consumer.send_json({"type": "answer", "to": content})


@asynccontextmanager
async def opened(do: Callable = answer, query: bytes = b"") -> AsyncIterator[WebSocketClient]:
    """Open a socket to a `News` consumer, and wait for its subscription."""
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": query}
    async with running(
        RequestIdMiddleware(News.as_asgi(do=do)), scope | {"headers": [ID]}
    ) as socket:
        await socket.follows()
        yield socket


async def closed(socket: WebSocketClient) -> int:
    """Return the close code; the next event must be the close."""
    message = await socket.receive()
    assert message["type"] == "websocket.close", message
    return message["code"]


async def test_message_order():
    """Published messages are sent in order."""
    async with opened() as socket:
        for number in range(20):
            await apublish("news", number)
        assert [(await socket.receive_type("message"))["data"] for _ in range(20)] == list(
            range(20)
        )


async def test_ping():
    """A ping is answered without calling the consumer."""
    async with opened() as socket:
        await socket.send('{"type": "ping"}')
        assert await socket.receive_type("pong")


@pytest.mark.parametrize(
    "query", [b"position=news:x-y", b"position=news", b"position=%ff:1-2", b"position=news:1--2"]
)
async def test_invalid_position(query):
    """An invalid stream position is ignored."""
    async with opened(query=query) as socket:
        await apublish("news", 1)
        assert await socket.receive_type("message")


async def test_too_many_positions():
    """More than MAX_POSITIONS stream positions close the socket."""
    query = b"&".join([b"position=news:1-2"] * (consumers.MAX_POSITIONS + 1))
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": query}
    async with running(News.as_asgi(do=answer), scope) as socket:
        await socket.accepted()
        assert await closed(socket) == CloseCode.BAD_MESSAGE


NOT_JSON = {
    "nested too deeply": '{"x":' * 100_000 + "1" + "}" * 100_000,
    "a number of 5000 digits": '{"x": %s}' % ("9" * 5000),
    "NaN": '{"x": NaN}',
    "a lone surrogate": r'{"x": "\ud800"}',
    "an array": "[]",
    "an empty message": "",
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
async def test_invalid_json(text, caplog):
    """A message that is not valid, portable JSON closes the socket, without a log record."""
    async with opened() as socket:
        await socket.send(text)
        assert await closed(socket) == CloseCode.BAD_MESSAGE
    assert caplog.records == []


async def test_surrogate_pair():
    """An escaped surrogate pair is accepted."""
    async with opened() as socket:
        await socket.send(r'{"x": "\ud83d\ude00"}')
        assert (await socket.receive_type("answer"))["to"] == {"x": "😀"}


async def test_slow_handler():
    """A slow handler delays neither published messages nor the disconnect."""

    async def wait(consumer, content):
        await may_end.wait()
        done.append(content["number"])

    done: list[int] = []
    may_end = asyncio.Event()
    async with opened(wait) as socket:
        for number in range(2):
            await socket.send(json.dumps({"number": number}))
        await apublish("news", "meanwhile")
        assert (await socket.receive_type("message"))["data"] == "meanwhile"
        assert done == []
        asyncio.get_running_loop().call_later(0.1, may_end.set)
    assert done == [0, 1]  # queued messages are handled after the disconnect


async def test_stuck_handler(monkeypatch):
    """A handler still running FINISH_SECONDS after the disconnect is cancelled."""

    async def wait(consumer, content):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    ended: list[bool] = []
    monkeypatch.setattr(consumers, "FINISH_SECONDS", 0.01)
    async with opened(wait) as socket:
        await socket.send("{}")
        assert await socket.receive_nothing()
    assert ended == [True]


async def test_handler_error(caplog):
    """An exception in a handler closes the socket with 4500 and is logged."""

    async def fail(consumer, content):
        raise ZeroDivisionError

    async with opened(fail) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.ERROR


async def test_handler_request_id():
    """A handler runs with the request id of its handshake."""

    async def note(consumer, content):
        noted.append(request_id.get())
        await answer(consumer, content)

    noted: list[str] = []
    async with opened(note) as socket:
        await socket.send("{}")
        assert await socket.receive_type("answer")
    assert noted == ["7f3a"]


async def test_unreachable_service(caplog):
    """An unreachable service closes the socket with 4500 and one warning, no traceback."""

    async def fail(consumer, content):
        raise NoRedis("gone")

    async with opened(fail) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.levelname, record.exc_info) == ("WARNING", None)


async def test_handler_close_code():
    """A handler can close the socket with a code."""

    async def refuse(consumer, content):
        raise WebSocketException(CloseCode.FORBIDDEN)

    async with opened(refuse) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.FORBIDDEN


async def test_queue_length(monkeypatch):
    """At most MAX_QUEUED messages wait for the handler."""

    async def wait(consumer, content):
        waiting.append(len(consumer._queue))
        await asyncio.sleep(0.01)

    waiting: list[int] = []
    monkeypatch.setattr(consumers, "MAX_QUEUED", 3)
    async with opened(wait) as socket:
        for _ in range(10):
            await socket.send("{}")
    assert len(waiting) == 10
    assert max(waiting) <= 3


async def test_queue_bytes(realtime):
    """Queued messages take at most twice WS_MAX_MESSAGE_BYTES."""

    async def wait(consumer, content):
        waiting.append(sum(map(consumers.message_size, consumer._queue)))
        await asyncio.sleep(0.01)

    waiting: list[int] = []
    realtime(MAX_MESSAGE_BYTES=100)
    async with opened(wait) as socket:
        for _ in range(10):
            await socket.send('{"x": "%s"}' % ("x" * 80))
    assert len(waiting) == 10
    assert max(waiting) <= 200


async def test_slow_reader(realtime):
    """A client that falls behind by more than the history is closed."""
    realtime(HISTORY_LENGTH=5)
    blocked = asyncio.Event()
    taken: list[str] = []

    async def send(message: dict) -> None:
        taken.append(message["type"])
        if "data" in message.get("text", ""):
            await blocked.wait()

    consumer = News(answer)
    events: asyncio.Queue = asyncio.Queue()
    events.put_nowait({"type": "websocket.connect"})
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": b""}
    running = asyncio.create_task(consumer(scope, events.get, send))
    await until(lambda: len(taken) == 2)
    await apublish("news", 0)
    await until(lambda: len(taken) == 3)
    for number in range(1, 10):
        await apublish("news", number)
    await asyncio.sleep(0.05)
    assert taken == ["websocket.accept", "websocket.send", "websocket.send"]
    blocked.set()
    await until(lambda: len(taken) > 3)
    assert taken[3:] == ["websocket.close"]
    events.put_nowait({"type": "websocket.disconnect", "code": CloseCode.TOO_SLOW})
    await running


async def test_connect_without_accept(caplog):
    """A connect() without super() is an error with a sentence, and does not hang."""

    class Silent(Consumer):
        async def connect(self) -> None:
            pass

    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": b""}
    async with running(Silent.as_asgi(), scope) as socket:
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "Silent.connect() neither accepted nor closed the socket" in str(record.exc_info[1])


async def test_groups():
    """Groups of Channels work as in its tutorial, also next to streams."""

    class Chat(Consumer):
        async def connect(self) -> None:
            await self.channel_layer.group_add("chat", self.channel_name)
            await self.accept()
            await self.subscribe("news")

        async def receive_json(self, content: dict, **kwargs) -> None:
            await self.channel_layer.group_send("chat", {"type": "chat.message", "text": 42})

        async def chat_message(self, event: dict) -> None:
            await self.send_json({"type": "chat", "text": event["text"]}, close=True)

    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": b""}
    async with running(Chat.as_asgi(), scope) as socket:
        await socket.follows()
        await socket.send("{}")
        assert (await socket.receive_type("chat"))["text"] == 42
        assert (await socket.receive())["type"] == "websocket.close"


async def test_unreachable_channel_layer(monkeypatch, caplog):
    """Without the channel layer, a socket is closed with 4500, and one line is logged."""

    async def unreachable(*args):
        raise NoRedis("gone")

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.new_channel", unreachable)
    async with connect("/ws/lobby/") as socket:
        await socket.accepted()
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)


async def test_disconnect_after_failed_group(monkeypatch):
    """disconnect() runs even if a group cannot be left."""

    class Chat(Consumer):
        groups = ["chat"]

        async def disconnect(self, code: int) -> None:
            left.append(code)

    async def unreachable(*args):
        raise NoRedis("gone")

    left: list[int] = []
    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_discard", unreachable)
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": b""}
    async with running(Chat.as_asgi(), scope) as socket:
        await socket.accepted()
    assert left == [1000]


async def test_signatures_of_channels():
    """Consumer can be used, and its methods overridden, as Channels' own JSON consumer."""
    for name in ("receive_json", "send_json", "encode_json", "decode_json", "receive", "close"):
        ours = inspect.signature(getattr(Consumer, name)).parameters
        theirs = inspect.signature(getattr(AsyncJsonWebsocketConsumer, name)).parameters
        assert list(ours) == list(theirs)
        assert [each.default for each in ours.values()] == [
            each.default for each in theirs.values()
        ]


async def test_cleanup_after_close():
    """A closed socket leaves no stream in the hub."""
    async with opened():
        assert "news" in hub().caches
    assert "news" not in hub().caches
