"""Connection quotas: WebSockets per user."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from redis.exceptions import ConnectionError as NoRedis

from realtime import conf, quotas
from realtime.brokers import broker
from realtime.brokers.base import QuotaReply
from realtime.protocol import CONNECTION_QUOTA_REASON, CloseCode
from realtime.quotas import quota
from tests.websockets import connect, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch, realtime):
    realtime(SOCKETS_PER_USER=3)
    monkeypatch.setattr(quotas, "HEARTBEAT", 0.05)
    monkeypatch.setattr(quotas, "RECHECK", 0.1)


def record_reports(monkeypatch, others: int = 0) -> list[dict[str, tuple[int, int]]]:
    """Record the broker's calls in the returned list; other processes have `others` sockets."""
    reported = []

    async def answer(process, counts, limit, expiry):
        reported.append(counts)
        most = conf.settings().SOCKETS_PER_USER - others
        return QuotaReply(False, [max(0, min(wants, most - has)) for has, wants in counts.values()])

    monkeypatch.setattr(broker().quotas, "sync", answer)
    return reported


async def test_quota_exceeded(ada):
    """A socket over its user's quota is accepted, then closed with 4429."""
    async with AsyncExitStack() as stack:
        for path in ("/ws/echo/", "/ws/lobby/", "/ws/echo/"):
            socket = await stack.enter_async_context(connect(path, client=ada))
            await socket.accepted()
        async with connect("/ws/echo/", client=ada) as socket:
            await socket.accepted()
            close = await socket.receive()
            assert (close["code"], close["reason"]) == (
                CloseCode.LIMIT_EXCEEDED,
                CONNECTION_QUOTA_REASON,
            )
        async with connect("/ws/echo/") as anonymous:
            await anonymous.accepted()
            assert await anonymous.receive_nothing()
    async with connect("/ws/echo/", client=ada) as socket:
        await socket.accepted()
        assert await socket.receive_nothing()


async def test_concurrent_acquire():
    """Concurrent sockets of one user acquire no more than the quota."""
    assert sum(await asyncio.gather(*(quota().acquire("ada") for _ in range(10)))) == 3
    assert await quota().acquire("bob")


async def test_sockets_of_other_processes(monkeypatch):
    """Sockets of other processes count towards the quota."""
    record_reports(monkeypatch, others=2)
    assert [await quota().acquire("ada") for _ in range(3)] == [True, False, False]


async def test_reconnect_at_quota(ada, monkeypatch):
    """A reconnecting socket over the quota is accepted when the old one is released in time."""
    reported = record_reports(monkeypatch, others=3)
    async with connect("/ws/echo/", client=ada) as socket:
        await until(lambda: reported)
        record_reports(monkeypatch, others=2)
        await socket.accepted()
        assert await socket.receive_nothing()


async def test_batched_acquire(monkeypatch):
    """Concurrent sockets of many users are reported to the broker in one call."""
    reported = record_reports(monkeypatch)
    await asyncio.gather(*(quota().acquire(f"user{number}") for number in range(400)))
    assert len(reported[0]) == 400


async def test_release(monkeypatch):
    """Released sockets are reported with the next heartbeat, a user's last one once only."""
    reported = record_reports(monkeypatch)
    for _ in range(2):
        assert await quota().acquire("ada")
    quota().release("ada")
    await until(lambda: {"ada": (1, 0)} in reported)
    quota().release("ada")
    await until(quota().syncing.done)
    told = [users for users in reported if users]  # a heartbeat may have no changes
    assert told == [{"ada": counted} for counted in ((0, 1), (1, 1), (1, 0), (0, 0))]
    assert quota().users == {}


async def test_cancelled_acquire(monkeypatch):
    """A socket that disconnects while it waits for the broker does not count."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer_later(process, counts, limit, expiry):
        asked.set()
        await may_answer.wait()
        return QuotaReply(False, [wants for _, wants in counts.values()])

    monkeypatch.setattr(broker().quotas, "sync", answer_later)
    for cancelled_after_the_answer in (False, True):
        asked.clear()
        may_answer.clear()
        waiting = asyncio.create_task(quota().acquire("ada"))
        await asked.wait()
        if cancelled_after_the_answer:
            may_answer.set()
            while not quota().users["ada"].open:  # noqa: ASYNC110
                await asyncio.sleep(0)
        waiting.cancel()
        may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: quota().users == {})


@pytest.mark.parametrize("seconds", [0, 60], ids=["refuses", "hangs"])
async def test_redis_outage(monkeypatch, seconds):
    """Without Redis every socket is accepted within its process's quota, and synced afterwards."""

    async def no_redis(*args):
        await asyncio.sleep(seconds)
        raise NoRedis("gone")

    monkeypatch.setattr(quotas, "TIMEOUT", 0.05)
    monkeypatch.setattr(broker().quotas, "sync", no_redis)
    async with asyncio.timeout(5):
        for number in range(1000):  # only the first one waits for the timeout
            assert await quota().acquire(f"user{number}")
    assert [await quota().acquire("user0") for _ in range(3)] == [True, True, False]
    reported = record_reports(monkeypatch)
    expected = {"user0": 3} | {f"user{number}": 1 for number in range(1, 1000)}
    await until(
        lambda: {user: has for told in reported for user, (has, _) in told.items()} == expected
    )
    assert max(map(len, reported)) <= quotas.USERS_PER_SYNC


async def test_broker_data_loss(monkeypatch):
    """A process reports all its sockets again when the broker has lost them."""

    async def answer(process, counts, limit, expiry):
        reported.append(counts)
        has_forgotten = forgets.is_set()
        forgets.clear()
        return QuotaReply(has_forgotten, [wants for _, wants in counts.values()])

    reported: list[dict] = []
    forgets = asyncio.Event()
    monkeypatch.setattr(broker().quotas, "sync", answer)
    for user in ("ada", "bob"):
        assert await quota().acquire(user)
    await until(lambda: {} in reported)
    reported.clear()
    forgets.set()
    await until(lambda: len(reported) >= 2)
    assert reported[:2] == [{}, {"ada": (1, 0), "bob": (1, 0)}]
