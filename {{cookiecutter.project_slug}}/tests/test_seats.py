"""How many sockets a user may have."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from redis.exceptions import ConnectionError as NoRedis

from config import contract
from realtime import seats as module
from realtime.consumers import CloseCode
from realtime.hub import hub
from realtime.seats import seats
from tests.sockets import connect, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(contract, "WS_PER_USER", 3)
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    monkeypatch.setattr(module, "RECHECK", 0.1)


def hear(monkeypatch, others: int = 0) -> list[dict[str, tuple[int, int]]]:
    """Return the list of what the broker is told from now on, where others have sockets, too."""
    heard = []

    async def answer(process, sockets, expiry):
        heard.append(sockets)
        most = contract.WS_PER_USER - others
        return False, [max(0, min(wants, most - has)) for has, wants in sockets.values()]

    monkeypatch.setattr(hub().broker, "seats", answer)
    return heard


async def test_one_socket_too_many_is_closed_with_a_code_that_a_browser_can_see(ada):
    async with AsyncExitStack() as stack:
        for path in ("/ws/echo/", "/ws/lobby/", "/ws/echo/"):
            socket = await stack.enter_async_context(connect(path, client=ada))
            await socket.accepted()
        async with connect("/ws/echo/", client=ada) as socket:
            await socket.accepted()
            assert (await socket.receive())["code"] == CloseCode.TOO_MANY
        async with connect("/ws/echo/") as stranger:
            await stranger.accepted()
            assert await stranger.receive_nothing()
    async with connect("/ws/echo/", client=ada) as socket:
        await socket.accepted()
        assert await socket.receive_nothing()


async def test_of_many_that_come_at_once_as_many_are_let_in_as_may():
    assert sum(await asyncio.gather(*(seats().take("ada") for _ in range(10)))) == 3
    assert await seats().take("bob")


async def test_sockets_elsewhere_count_too(monkeypatch):
    hear(monkeypatch, others=2)
    assert [await seats().take("ada") for _ in range(3)] == [True, False, False]


async def test_who_comes_back_while_the_old_socket_still_counts_is_let_in_after_a_moment(
    ada, monkeypatch
):
    heard = hear(monkeypatch, others=3)
    async with connect("/ws/echo/", client=ada) as socket:
        await until(lambda: heard)
        hear(monkeypatch, others=2)
        await socket.accepted()
        assert await socket.receive_nothing()


async def test_the_broker_is_told_in_one_call_of_all_who_come_meanwhile(monkeypatch):
    heard = hear(monkeypatch)
    await asyncio.gather(*(seats().take(f"user{number}") for number in range(400)))
    assert len(heard[0]) == 400


async def test_who_leaves_is_counted_with_the_next_beat_and_nobody_is_told_after_that(monkeypatch):
    heard = hear(monkeypatch)
    for _ in range(2):
        assert await seats().take("ada")
    seats().leave("ada")
    await until(lambda: {"ada": (1, 0)} in heard)
    seats().leave("ada")
    await until(seats().telling.done)
    told = [users for users in heard if users]  # a beat may have nothing new
    assert told == [{"ada": counted} for counted in ((0, 1), (1, 1), (1, 0), (0, 0))]
    assert seats().users == {}


async def test_who_has_left_while_waiting_does_not_count(monkeypatch):
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer_later(process, sockets, expiry):
        asked.set()
        await may_answer.wait()
        return False, [wants for _, wants in sockets.values()]

    monkeypatch.setattr(hub().broker, "seats", answer_later)
    for cancelled_after_the_answer in (False, True):
        asked.clear()
        may_answer.clear()
        waiting = asyncio.create_task(seats().take("ada"))
        await asked.wait()
        if cancelled_after_the_answer:
            may_answer.set()
            while not seats().users["ada"].open:
                await asyncio.sleep(0)
        waiting.cancel()
        may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: seats().users == {})


@pytest.mark.parametrize("seconds", [0, 60], ids=["refuses", "hangs"])
async def test_without_redis_everybody_is_let_in_and_counted_when_it_is_back(monkeypatch, seconds):
    async def no_redis(*args):
        await asyncio.sleep(seconds)
        raise NoRedis("gone")

    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    monkeypatch.setattr(hub().broker, "seats", no_redis)
    async with asyncio.timeout(5):
        for number in range(1000):  # of whom only the first waits
            assert await seats().take(f"user{number}")
    assert [await seats().take("user0") for _ in range(3)] == [True, True, False]
    heard = hear(monkeypatch)
    everybody = {"user0": 3} | {f"user{number}": 1 for number in range(1, 1000)}
    await until(
        lambda: {user: has for told in heard for user, (has, _) in told.items()} == everybody
    )
    assert max(map(len, heard)) <= module.AT_ONCE


async def test_a_broker_that_has_forgotten_this_process_is_told_of_all_sockets(monkeypatch):
    async def answer(process, sockets, expiry):
        heard.append(sockets)
        has_forgotten = forgets.is_set()
        forgets.clear()
        return has_forgotten, [wants for _, wants in sockets.values()]

    heard: list[dict] = []
    forgets = asyncio.Event()
    monkeypatch.setattr(hub().broker, "seats", answer)
    for user in ("ada", "bob"):
        assert await seats().take(user)
    await until(lambda: {} in heard)
    heard.clear()
    forgets.set()
    await until(lambda: len(heard) >= 2)
    assert heard[:2] == [{}, {"ada": (1, 0), "bob": (1, 0)}]
