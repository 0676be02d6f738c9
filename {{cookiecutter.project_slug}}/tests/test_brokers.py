"""The interfaces of a broker, in memory and in Redis: both behave the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.brokers import blocking_broker, broker, memory
from realtime.brokers.base import Broker, Position
from realtime.brokers.redis import RedisBroker
from tests.websockets import until


@pytest.fixture(params=["memory", "redis"])
def url(request) -> str:
    """REDIS_URL for each of the brokers."""
    return request.getfixturevalue("redis_url") if request.param == "redis" else ""


@pytest.fixture
async def each(url, realtime, monkeypatch, tmp_path) -> AsyncIterator[Broker]:
    """A broker without data, whose stream messages are recorded in `received` and `gaps`."""
    for store in ("streams", "tickets"):
        monkeypatch.setattr(memory, store, {})
    monkeypatch.setattr(memory, "members", memory.defaultdict(dict))
    realtime(REDIS_URL=url, REDIS_PREFIX=f"test-{tmp_path}")
    streams = broker().streams
    streams.received, streams.gaps = [], []
    streams.on_message = lambda *message: streams.received.append(message)
    streams.on_gap = streams.gaps.append
    running = asyncio.create_task(streams.run())
    yield broker()
    running.cancel()
    await asyncio.wait([running])
    if url:
        await close(broker())
        blocking_broker().redis.close()


async def test_subscribe(each):
    """A subscription is confirmed when subscribe() returns: the next message is received."""
    received = each.streams.received
    await each.streams.subscribe("news")
    first = await each.streams.append("news", '"a"', "1")
    await each.streams.append("other", '"b"', "2")
    await until(lambda: received == [("news", first, '"a"')])
    # Not confirmed: messages may still arrive for a moment, and the hub ignores them.
    await each.streams.unsubscribe("news")
    await each.streams.subscribe("news")
    last = await each.streams.append("news", '"c"', "3")
    await until(lambda: received == [("news", first, '"a"'), ("news", last, '"c"')])
    assert each.streams.gaps == []


async def test_unsubscribe(each):
    """After unsubscribe() no more messages are received, once the broker has processed it."""
    received = each.streams.received
    for stream in ("news", "other"):
        await each.streams.subscribe(stream)
    await each.streams.unsubscribe("news")
    await each.streams.unsubscribe("other")
    await each.streams.subscribe("other")  # confirmed after the first command was processed
    await each.streams.append("news", '"a"', "1")
    position = await each.streams.append("other", '"b"', "2")
    await until(lambda: received)
    assert received == [("other", position, '"b"')]


async def test_read(each):
    """History pages begin after a position of the same epoch, and end with the last message."""
    positions = [await each.streams.append("news", str(number), str(number)) for number in range(5)]
    assert [position.seq for position in positions] == [1, 2, 3, 4, 5]
    page = await each.streams.read("news", positions[1])
    assert (page.start, page.end, page.messages) == (positions[1], positions[4], ["2", "3", "4"])
    for unknown in (None, positions[0]._replace(epoch=1), positions[4]):
        assert (await each.streams.read("news", unknown)).messages == []
    assert await each.streams.ends(["news", "empty"]) == [
        positions[4],
        (await each.streams.read("empty", None)).end,
    ]


async def test_history_length(each, realtime):
    """A stream keeps about HISTORY_LENGTH messages; a page is complete or begins later."""
    realtime(HISTORY_LENGTH=3)
    first = await each.streams.append("news", "0", "0")
    for number in range(1, 300):  # Redis trims whole nodes of 100 messages
        await each.streams.append("news", str(number), str(number))
    page = await each.streams.read("news", first)
    assert page.messages == [str(number) for number in range(300 - len(page.messages), 300)]
    assert 3 <= len(page.messages) <= 110


async def test_idempotency_key(each):
    """A message with a known key is not appended again, by whichever way it comes."""
    position = await each.streams.append("news", "1", "key")
    assert await each.streams.append("news", "1", "key") == position
    assert await asyncio.to_thread(blocking_broker().append, "news", "1", "key") == position
    assert await asyncio.to_thread(blocking_broker().end, "news") == position


async def test_publish_from_thread(each):
    """A message that code without an event loop appends is received."""
    await each.streams.subscribe("news")
    position = await asyncio.to_thread(blocking_broker().append, "news", "1", "key")
    await until(lambda: each.streams.received)
    assert each.streams.received == [("news", position, "1")]


async def test_presence(each):
    """Members are listed until they expire; a leaving one after its grace."""
    update = each.presence.update
    assert await update("news", ["a ada", "a bob"], [], 10, 10) == ["a ada", "a bob"]
    members = await update("news", ["b eve"], ["b none"], 0.2, 0.2)
    assert sorted(members) == ["a ada", "a bob", "b eve"]
    await update("news", ["a ada"], ["a bob"], 10, 0.1)
    await asyncio.sleep(0.3)  # the times above
    assert await update("news", [], [], 10, 10) == ["a ada"]


async def test_quotas(each):
    """No more connections are granted than the limit allows."""
    sync = each.quotas.sync
    reply = await sync("one", {"ada": (1, 1), "bob": (0, 9)}, 3, 10)
    assert reply.granted == [1, 3]
    assert (await sync("one", {"ada": (2, 2)}, 3, 10)) == (False, [1])
    assert (await sync("one", {"ada": (0, 0)}, 3, 10)) == (False, [0])


async def test_tickets(each):
    """A ticket is read once, and not after it has expired."""
    put = blocking_broker().put_ticket
    await asyncio.to_thread(put, "one", "value", 10)
    await asyncio.to_thread(put, "two", "value", 0.05)
    assert [await each.tickets.pop("one") for _ in range(2)] == ["value", None]
    await asyncio.sleep(0.1)  # the time above
    assert await each.tickets.pop("two") is None


async def close(used: RedisBroker) -> None:
    """Close the connections of a broker."""
    await used.streams.connection.redis.aclose()


# What only a broker for several processes has to do


@pytest.fixture
async def redis(redis_url, tmp_path) -> AsyncIterator[RedisBroker]:
    """A broker in Redis without data."""
    used = RedisBroker(redis_url, f"test-{tmp_path}")
    yield used
    await close(used)


async def test_prefix(redis, redis_url, tmp_path):
    """Projects with different prefixes share a Redis without sharing data."""
    other = RedisBroker(redis_url, f"other-{tmp_path}")
    await redis.streams.append("news", "1", "key")
    await redis.presence.update("news", ["a ada"], [], 10, 10)
    await redis.quotas.sync("one", {"ada": (3, 0)}, 3, 10)
    assert (await other.streams.append("news", "2", "key")).seq == 1
    assert await other.presence.update("news", [], [], 10, 10) == []
    assert (await other.quotas.sync("two", {"ada": (0, 1)}, 3, 10)).granted == [1]
    keys = [key async for key in redis.streams.connection.redis.scan_iter(f"*{tmp_path}*")]
    assert {key.partition(f"{tmp_path}")[0] for key in keys} == {"test-", "other-"}
    unprefixed = [
        key
        async for key in redis.streams.connection.redis.scan_iter("*")
        if not key.startswith(("test-", "other-"))
    ]
    assert unprefixed == []
    await close(other)


async def test_quotas_of_processes(redis):
    """Connections in all processes count, those of an expired one no more."""
    sync = redis.quotas.sync
    assert await sync("one", {"ada": (0, 2)}, 3, 0.2) == (True, [2])
    assert await sync("two", {"ada": (0, 3)}, 3, 10) == (True, [1])
    await asyncio.sleep(0.3)  # the expiry above
    assert await sync("two", {"ada": (1, 3)}, 3, 10) == (False, [2])


async def test_lost_connection(redis, monkeypatch):
    """After a lost connection, subscriptions are restored and a possible gap is reported."""
    gaps: list[str] = []
    received: list[tuple[str, Position, str]] = []
    redis.streams.on_message = lambda *message: received.append(message)
    redis.streams.on_gap = gaps.append
    running = asyncio.create_task(redis.streams.run())
    await redis.streams.subscribe("news")
    await redis.streams.pubsub.connection.disconnect()
    await until(lambda: gaps)
    assert gaps == ["news"]
    position = await redis.streams.append("news", "1", "key")
    await until(lambda: received)
    assert received == [("news", position, "1")]
    running.cancel()
    await asyncio.wait([running])
