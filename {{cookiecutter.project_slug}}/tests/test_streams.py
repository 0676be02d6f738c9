"""What is published reaches who follows, once and in order, however it was lost on the way."""

import asyncio
import json

import pytest
from django.db import transaction

from config import contract
from realtime.brokers import Position, memory
from realtime.hub import Subscription, TooSlow, hub
from realtime.streams import apublish, publish
from tests.sockets import until


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch):
    monkeypatch.setattr(memory, "streams", {})


async def follow(stream: str, position: Position | None = None) -> Subscription:
    """Follow a stream, without a socket."""
    return await hub().subscribe(stream, position, lambda: None)


async def settled() -> None:
    """Let all that is under way happen: none of it waits for the time to pass."""
    for _ in range(50):
        await asyncio.sleep(0)


async def heard(subscription: Subscription) -> list[dict]:
    """Return what has come so far."""
    await settled()
    return [json.loads(text) for text in iter(subscription.next, None)]


async def numbers(subscription: Subscription) -> list[int]:
    """Return what has been published, where that is numbers."""
    return [message["data"] for message in await heard(subscription) if "data" in message]


async def test_what_is_published_comes_with_its_place():
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


async def test_who_comes_back_gets_exactly_what_was_missed():
    position = await apublish("news", 0)
    for number in range(1, 5):
        await apublish("news", number)
    subscription = await follow("news", position)
    greeting, *missed = await heard(subscription)
    assert greeting["recovered"] is True
    assert [message["data"] for message in missed] == [1, 2, 3, 4]
    await apublish("news", 5)
    assert await numbers(subscription) == [5]


async def test_who_was_further_back_than_the_first_one_gets_more():
    first = await apublish("news", 0)
    second = await apublish("news", 1)
    await apublish("news", 2)
    assert await numbers(await follow("news", second)) == [2]
    assert await numbers(await follow("news", first)) == [1, 2]


@pytest.mark.parametrize("wrong", [Position(1, 0), Position(2**45, 0)], ids=["old", "new"])
async def test_a_position_in_another_epoch_is_not_recovered(wrong):
    await apublish("news", 0)
    subscription = await follow("news", wrong)
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_a_position_that_is_not_reached_yet_is_not_recovered():
    position = await apublish("news", 0)
    subscription = await follow("news", position._replace(seq=7))
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_who_was_told_more_by_another_process_is_recovered(monkeypatch):
    await follow("news")
    monkeypatch.setattr(memory.MemoryBroker, "tell", lambda *_: None)
    await apublish("news", 1)
    position = await apublish("news", 2)
    subscription = await follow("news", position)
    assert [message["recovered"] for message in await heard(subscription)] == [True]


async def test_a_position_before_the_history_is_not_recovered(monkeypatch):
    monkeypatch.setattr(contract, "HISTORY_LENGTH", 3)
    positions = [await apublish("news", number) for number in range(5)]
    assert await numbers(await follow("news", positions[1])) == [2, 3, 4]
    subscription = await follow("news", positions[0])
    assert [message["recovered"] for message in await heard(subscription)] == [False]


async def test_who_asks_for_what_is_long_gone_has_it_looked_for_once(monkeypatch):
    monkeypatch.setattr(contract, "HISTORY_LENGTH", 3)
    first = await apublish("news", 0)
    for number in range(1, 6):
        await apublish("news", number)
    subscription = await follow("news")
    read, asked = subscription.feed.broker.read, []

    async def count(stream, after):
        asked.append(after)
        return await read(stream, after)

    monkeypatch.setattr(subscription.feed.broker, "read", count)
    for _ in range(3):
        assert await numbers(await follow("news", first)) == []
    assert asked == [first]


async def test_a_message_that_was_not_heard_is_found_when_the_next_one_comes(monkeypatch):
    subscription = await follow("news")
    await apublish("news", 0)
    assert await numbers(subscription) == [0]
    with monkeypatch.context() as deaf:
        deaf.setattr(memory.MemoryBroker, "tell", lambda *_: None)
        await apublish("news", 1)
        await apublish("news", 2)
    assert await numbers(subscription) == []
    await apublish("news", 3)
    assert await numbers(subscription) == [1, 2, 3]


async def test_a_message_that_was_not_heard_is_found_when_no_other_one_comes(monkeypatch):
    monkeypatch.setattr("realtime.hub.COMPARE_EVERY", 0.02)
    subscription = await follow("news")
    monkeypatch.setattr(memory.MemoryBroker, "tell", lambda *_: None)
    await apublish("news", 1)
    await until(lambda: subscription.feed.texts)
    assert await numbers(subscription) == [1]


async def test_what_comes_while_a_gap_is_filled_is_not_left_for_later(monkeypatch):
    async def read(self, stream, after):
        excerpt = await read_at_once(self, stream, after)
        has_read.set()
        await may_go_on.wait()
        return excerpt

    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    subscription = await follow("news")
    with monkeypatch.context() as deaf:
        deaf.setattr(memory.MemoryBroker, "tell", lambda *_: None)
        await apublish("news", 1)
    read_at_once = memory.MemoryBroker.read
    monkeypatch.setattr(memory.MemoryBroker, "read", read)
    await apublish("news", 2)
    await has_read.wait()
    await apublish("news", 3)
    await settled()
    may_go_on.set()
    assert await numbers(subscription) == [1, 2, 3]


async def test_who_follows_a_stream_whose_past_is_lost_is_told_so():
    subscription = await follow("news")
    await apublish("news", 0)
    await numbers(subscription)
    await asyncio.sleep(0.002)  # for another epoch
    memory.streams.clear()
    await apublish("news", 1)
    (greeting,) = await heard(subscription)
    assert (greeting["type"], greeting["recovered"]) == ("subscribed", False)
    await apublish("news", 2)
    assert await numbers(subscription) == [2]


async def test_who_reads_too_slowly_is_found_out(monkeypatch):
    monkeypatch.setattr(contract, "HISTORY_LENGTH", 3)
    subscription = await follow("news")
    subscription.next()
    for number in range(4):
        await apublish("news", number)
    await settled()
    with pytest.raises(TooSlow):
        subscription.next()


async def test_a_message_is_encoded_once_for_all():
    subscriptions = [await follow("news") for _ in range(2)]
    await apublish("news", 0)
    await settled()
    first, second = [list(iter(each.next, None))[-1] for each in subscriptions]
    assert first is second


async def test_what_is_published_again_with_its_key_is_sent_once():
    subscription = await follow("news")
    assert await apublish("news", 0, key="a") == await apublish("news", 0, key="a")
    await apublish("news", 1, key="b")
    assert await numbers(subscription) == [0, 1]


async def test_streams_that_nobody_follows_are_not_listened_to():
    subscription = await follow("news")
    assert "news" in hub().broker.names
    await subscription.leave()
    assert "news" not in hub().broker.names
    assert "news" not in hub().feeds


@pytest.mark.parametrize("text", ["", "1", "1-", "a-b", "1--2", "1-99999999999999999999"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="invalid|not a position"):
        Position.parse(text)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
async def test_what_is_no_number_in_json_is_refused(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        await apublish("news", {"number": float(number)})


@pytest.mark.parametrize("name", ["", "with space", "a:b", 'a"b', "x" * 201])
async def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="not a name"):
        await apublish(name, 0)


def test_inside_a_transaction_nothing_is_sent_before_it_is_committed(transactional_db):
    with transaction.atomic():
        publish("news", 1)
        assert not memory.streams
    assert list(memory.streams["news"].messages) == ["1"]
    with transaction.atomic():
        publish("news", 2)
        transaction.set_rollback(True)
    assert list(memory.streams["news"].messages) == ["1"]
