"""Publishing, subscribing and recovery."""

import asyncio
import json

import pytest
from django.db import transaction

from realtime.brokers import memory
from realtime.brokers.base import Position
from realtime.hub import hub
from realtime.stream_cache import Subscription, TooSlow
from realtime.streams import apublish, publish
from tests.websockets import until


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch):
    monkeypatch.setattr(memory, "streams", {})


async def follow(stream: str, position: Position | None = None) -> Subscription:
    """Subscribe to a stream, without a socket."""
    return await hub().subscribe(stream, position, lambda: None)


async def settled() -> None:
    """Run all pending tasks; none of them waits for a timer."""
    for _ in range(50):
        await asyncio.sleep(0)


async def heard(subscription: Subscription) -> list[dict]:
    """Return the messages received so far."""
    await settled()
    return [json.loads(text) for text in iter(subscription.next_text, None)]


async def numbers(subscription: Subscription) -> list[int]:
    """Return the data of the published messages received so far."""
    return [message["data"] for message in await heard(subscription) if "data" in message]


async def test_stream_position():
    """A message arrives with its stream, epoch and sequence number."""
    subscription = await follow("news")
    position = await apublish("news", {"a": "ü"})
    greeting, message = await heard(subscription)
    epoch = position.epoch
    assert greeting == {
        "type": "subscribed",
        "stream": "news",
        "epoch": epoch,
        "seq": 0,
        "recovered": False,
    }
    assert message == {
        "type": "message",
        "stream": "news",
        "epoch": epoch,
        "seq": 1,
        "data": {"a": "ü"},
    }


async def test_recovery():
    """A reconnecting subscriber receives exactly the messages it missed."""
    position = await apublish("news", 0)
    for number in range(1, 5):
        await apublish("news", number)
    subscription = await follow("news", position)
    greeting, *missed = await heard(subscription)
    assert greeting["recovered"] is True
    assert [message["data"] for message in missed] == [1, 2, 3, 4]
    await apublish("news", 5)
    assert await numbers(subscription) == [5]


async def test_recovery_from_older_position():
    """A subscriber further behind than the previous one receives all it missed."""
    first = await apublish("news", 0)
    second = await apublish("news", 1)
    await apublish("news", 2)
    assert await numbers(await follow("news", second)) == [2]
    assert await numbers(await follow("news", first)) == [1, 2]


@pytest.mark.parametrize("wrong", [Position(1, 0), Position(2**45, 0)], ids=["old", "new"])
async def test_position_in_other_epoch(wrong):
    """A position in another epoch is not recovered."""
    await apublish("news", 0)
    subscription = await follow("news", wrong)
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_position_beyond_end():
    """A position beyond the end of the stream is not recovered."""
    position = await apublish("news", 0)
    subscription = await follow("news", position._replace(seq=7))
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_position_beyond_cache(monkeypatch):
    """A position beyond this process's cache, but in the broker's history, is recovered."""
    await follow("news")
    monkeypatch.setattr(memory.MemoryStreams, "deliver", lambda *_: None)
    await apublish("news", 1)
    position = await apublish("news", 2)
    subscription = await follow("news", position)
    assert [message["recovered"] for message in await heard(subscription)] == [True]


async def test_position_before_history(realtime):
    """A position before the start of the history is not recovered."""
    realtime(HISTORY_LENGTH=3)
    positions = [await apublish("news", number) for number in range(5)]
    assert await numbers(await follow("news", positions[1])) == [2, 3, 4]
    subscription = await follow("news", positions[0])
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_expired_position_read_once(monkeypatch, realtime):
    """Repeated subscriptions at an expired position read the broker once."""
    realtime(HISTORY_LENGTH=3)
    first = await apublish("news", 0)
    for number in range(1, 6):
        await apublish("news", number)
    subscription = await follow("news")
    read, asked = subscription.cache.broker.read, []

    async def count(stream, after):
        asked.append(after)
        return await read(stream, after)

    monkeypatch.setattr(subscription.cache.broker, "read", count)
    for _ in range(3):
        assert await numbers(await follow("news", first)) == []
    assert asked == [first]


async def test_backfill_on_next_message(monkeypatch):
    """Lost messages are backfilled when the next one arrives."""
    subscription = await follow("news")
    await apublish("news", 0)
    assert await numbers(subscription) == [0]
    with monkeypatch.context() as deaf:
        deaf.setattr(memory.MemoryStreams, "deliver", lambda *_: None)
        await apublish("news", 1)
        await apublish("news", 2)
    assert await numbers(subscription) == []
    await apublish("news", 3)
    assert await numbers(subscription) == [1, 2, 3]


async def test_backfill_without_next_message(monkeypatch):
    """A lost message is backfilled by the periodic comparison with the broker."""
    monkeypatch.setattr("realtime.hub.COMPARE_EVERY", 0.02)
    subscription = await follow("news")
    monkeypatch.setattr(memory.MemoryStreams, "deliver", lambda *_: None)
    await apublish("news", 1)
    await until(lambda: subscription.cache.messages)
    assert await numbers(subscription) == [1]


async def test_message_during_backfill(monkeypatch):
    """A message that arrives during a backfill is delivered right after it."""

    async def read(self, stream, after):
        excerpt = await read_at_once(self, stream, after)
        has_read.set()
        await may_go_on.wait()
        return excerpt

    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    subscription = await follow("news")
    with monkeypatch.context() as deaf:
        deaf.setattr(memory.MemoryStreams, "deliver", lambda *_: None)
        await apublish("news", 1)
    read_at_once = memory.MemoryStreams.read
    monkeypatch.setattr(memory.MemoryStreams, "read", read)
    await apublish("news", 2)
    await has_read.wait()
    await apublish("news", 3)
    await settled()
    may_go_on.set()
    assert await numbers(subscription) == [1, 2, 3]


async def test_lost_history():
    """Subscribers receive recovered: false when the broker has lost the stream."""
    subscription = await follow("news")
    await apublish("news", 0)
    await numbers(subscription)
    await asyncio.sleep(0.002)  # epochs are in milliseconds
    memory.streams.clear()
    await apublish("news", 1)
    (greeting,) = await heard(subscription)
    assert (greeting["type"], greeting["recovered"]) == ("subscribed", False)
    await apublish("news", 2)
    assert await numbers(subscription) == [2]


async def test_too_slow(realtime):
    """A subscriber that falls behind by more than the history raises TooSlow."""
    realtime(HISTORY_LENGTH=3)
    subscription = await follow("news")
    subscription.next()
    for number in range(4):
        await apublish("news", number)
    await settled()
    with pytest.raises(TooSlow):
        subscription.next()


async def test_shared_encoding():
    """A message is encoded once for all subscribers."""
    subscriptions = [await follow("news") for _ in range(2)]
    await apublish("news", 0)
    await settled()
    first, second = [list(iter(each.next_text, None))[-1] for each in subscriptions]
    assert first is second


async def test_idempotency_key():
    """A message published again with the same key is delivered once."""
    subscription = await follow("news")
    assert await apublish("news", 0, key="a") == await apublish("news", 0, key="a")
    await apublish("news", 1, key="b")
    assert await numbers(subscription) == [0, 1]


async def test_last_unsubscribe():
    """A stream without subscribers is dropped by the hub and the broker."""
    subscription = await follow("news")
    assert "news" in hub().broker.names
    await subscription.leave()
    assert "news" not in hub().broker.names
    assert "news" not in hub().caches


@pytest.mark.parametrize("text", ["", "1", "1-", "a-b", "1--2", "1-99999999999999999999"])
def test_invalid_position(text):
    """An invalid stream position raises ValueError."""
    with pytest.raises(ValueError, match="invalid"):
        Position.parse(text)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
async def test_non_finite_number(number):
    """Publishing NaN or an infinity raises ValueError."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        await apublish("news", {"number": float(number)})


@pytest.mark.parametrize("name", ["", "with space", "a:b", 'a"b', "x" * 201])
async def test_invalid_stream_name(name):
    """An invalid stream name raises ValueError."""
    with pytest.raises(ValueError, match="invalid stream name"):
        await apublish(name, 0)


def test_publish_in_transaction(transactional_db):
    """In a transaction, a message is published at the commit, and never after a rollback."""
    with transaction.atomic():
        publish("news", 1)
        assert not memory.streams
    assert list(memory.streams["news"].messages) == ["1"]
    with transaction.atomic():
        publish("news", 2)
        transaction.set_rollback(True)
    assert list(memory.streams["news"].messages) == ["1"]
