"""What a consumer need not think of."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from django.contrib.auth.models import AnonymousUser
from redis.exceptions import ConnectionError as NoRedis

from config import contract
from realtime import consumers
from realtime.brokers import memory
from realtime.consumers import CloseCode, Consumer, Refused
from realtime.hub import hub
from realtime.request_id import RequestId, request_id
from realtime.streams import apublish
from tests.sockets import Socket, running, until

ID = (b"x-request-id", b"7f3a")

pytestmark = pytest.mark.django_db(transaction=True)  # Channels closes old connections


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch):
    monkeypatch.setattr(memory, "streams", {})


class News(Consumer):
    """Follows a stream, and does what it is told."""

    def __init__(self, do: Callable) -> None:
        super().__init__()
        self.do = do

    async def connect(self) -> None:
        await super().connect()
        await self.subscribe("news")

    async def receive_json(self, content: dict) -> None:
        await self.do(self, content)


async def answer(consumer: Consumer, content: dict) -> None:
    await consumer.send_json({"type": "answer", "to": content})


@asynccontextmanager
async def opened(do: Callable = answer, query: bytes = b"") -> AsyncIterator[Socket]:
    """Open a socket to a consumer of these news."""
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": query}
    async with running(RequestId(News.as_asgi(do=do)), scope | {"headers": [ID]}) as socket:
        await socket.follows()
        yield socket


async def closed(socket: Socket) -> int:
    """Return the code with which a socket is closed, now."""
    message = await socket.receive()
    assert message["type"] == "websocket.close", message
    return message["code"]


async def test_what_is_published_is_sent_in_order():
    async with opened() as socket:
        for number in range(20):
            await apublish("news", number)
        assert [(await socket.hear("message"))["data"] for _ in range(20)] == list(range(20))


async def test_a_ping_is_answered_without_the_consumer():
    async with opened() as socket:
        await socket.send('{"type": "ping"}')
        assert await socket.hear("pong")


@pytest.mark.parametrize(
    "query", [b"position=news:x-y", b"position=news", b"position=%ff:1-2", b"position=news:1--2"]
)
async def test_a_position_that_is_none_is_no_position(query):
    async with opened(query=query) as socket:
        await apublish("news", 1)
        assert await socket.hear("message")


async def test_more_positions_than_anybody_has_are_refused_unread():
    query = b"&".join([b"position=news:1-2"] * (consumers.MAX_POSITIONS + 1))
    scope = {"type": "websocket", "user": AnonymousUser(), "query_string": query}
    async with running(News.as_asgi(do=answer), scope) as socket:
        await socket.accepted()
        assert await closed(socket) == CloseCode.PROTOCOL_ERROR


NOT_JSON = {
    "nested too deeply": '{"x":' * 100_000 + "1" + "}" * 100_000,
    "a number of 5000 digits": '{"x": %s}' % ("9" * 5000),
    "no number": '{"x": NaN}',
    "half a character": r'{"x": "\ud800"}',
    "no object": "[]",
    "nothing": "",
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_others_could_not_read_closes_the_socket_without_an_error(text, caplog):
    async with opened() as socket:
        await socket.send(text)
        assert await closed(socket) == CloseCode.PROTOCOL_ERROR
    assert caplog.records == []


async def test_characters_that_are_written_in_two_halves_are_taken():
    async with opened() as socket:
        await socket.send(r'{"x": "\ud83d\ude00"}')
        assert (await socket.hear("answer"))["to"] == {"x": "😀"}


async def test_a_handler_that_takes_its_time_holds_up_neither_streams_nor_the_disconnect():
    async def wait(consumer, content):
        await may_end.wait()
        done.append(content["number"])

    done: list[int] = []
    may_end = asyncio.Event()
    async with opened(wait) as socket:
        for number in range(2):
            await socket.send(json.dumps({"number": number}))
        await apublish("news", "meanwhile")
        assert (await socket.hear("message"))["data"] == "meanwhile"
        assert done == []
        asyncio.get_running_loop().call_later(0.1, may_end.set)
    assert done == [0, 1]  # what was asked for is done, though nobody waits for it


async def test_a_handler_that_never_ends_is_ended_when_its_client_has_left(monkeypatch):
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


async def test_an_error_in_a_handler_closes_the_socket_and_is_logged(caplog):
    async def fail(consumer, content):
        raise ZeroDivisionError

    async with opened(fail) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.ERROR


async def test_a_handler_logs_with_the_id_of_its_request():
    async def note(consumer, content):
        noted.append(request_id.get())
        await answer(consumer, content)

    noted: list[str] = []
    async with opened(note) as socket:
        await socket.send("{}")
        assert await socket.hear("answer")
    assert noted == ["7f3a"]


async def test_a_service_that_does_not_answer_closes_the_socket_in_one_line(caplog):
    async def fail(consumer, content):
        raise NoRedis("gone")

    async with opened(fail) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.SERVER_ERROR
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.levelname, record.exc_info) == ("WARNING", None)


async def test_a_handler_may_refuse_with_a_code():
    async def refuse(consumer, content):
        raise Refused(CloseCode.NOT_ALLOWED)

    async with opened(refuse) as socket:
        await socket.send("{}")
        assert await closed(socket) == CloseCode.NOT_ALLOWED


async def test_more_messages_are_not_taken_than_may_wait(monkeypatch):
    async def wait(consumer, content):
        waiting.append(len(consumer.inbox))
        await asyncio.sleep(0.01)

    waiting: list[int] = []
    monkeypatch.setattr(consumers, "MAX_QUEUED", 3)
    async with opened(wait) as socket:
        for _ in range(10):
            await socket.send("{}")
    assert len(waiting) == 10
    assert max(waiting) <= 3


async def test_no_more_bytes_wait_than_one_message_may_have_and_one_more(monkeypatch):
    async def wait(consumer, content):
        waiting.append(sum(map(consumers.size, consumer.inbox)))
        await asyncio.sleep(0.01)

    waiting: list[int] = []
    monkeypatch.setattr(contract, "WS_MAX_MESSAGE_BYTES", 100)
    async with opened(wait) as socket:
        for _ in range(10):
            await socket.send('{"x": "%s"}' % ("x" * 80))
    assert len(waiting) == 10
    assert max(waiting) <= 200


async def test_who_reads_too_slowly_is_closed_and_goes_on_from_there(monkeypatch):
    monkeypatch.setattr(contract, "HISTORY_LENGTH", 5)
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


async def test_nothing_is_left_of_a_socket_that_was_closed():
    async with opened():
        assert "news" in hub().feeds
    assert "news" not in hub().feeds
