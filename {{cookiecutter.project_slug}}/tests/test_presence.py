"""Who is here."""

import asyncio

import pytest

from realtime import presence
from realtime.brokers import memory
from realtime.hub import hub
from realtime.presence import Member


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(memory, "members", memory.defaultdict(dict))
    times = {"HEARTBEAT": 0.05, "EXPIRY": 0.15, "GRACE": 0.1, "PAUSE": 0.01}
    for name, seconds in times.items():
        monkeypatch.setattr(presence, name, seconds)


async def here(member: Member) -> str:
    """Return the last news of who is here, as names between quotes."""
    await asyncio.sleep(0.03)
    return member.gathering.text.partition("here")[2]


async def test_everybody_is_told_who_comes():
    ada = Member("lobby", "ada", lambda: woken.append("ada"))
    woken: list[str] = []
    bob = Member("lobby", "bob", lambda: woken.append("bob"))
    await asyncio.sleep(0.03)
    assert woken == ["ada", "bob"] or woken == ["bob", "ada"]
    assert ada.next() == bob.next() == ada.gathering.text
    assert '["ada", "bob"]' in ada.gathering.text
    assert ada.next() is None


async def test_who_has_two_sockets_is_here_once_and_until_both_are_closed(monkeypatch):
    monkeypatch.setattr(presence, "EXPIRY", 10)
    ada, bob, again = (Member("lobby", name, lambda: None) for name in ("ada", "bob", "bob"))
    assert '["ada", "bob"]' in await here(ada)
    await bob.leave()
    await asyncio.sleep(0.2)
    assert "bob" in await here(ada)
    await again.leave()
    assert "bob" in await here(ada)  # who may be back in a moment
    await asyncio.sleep(0.2)
    assert "bob" not in await here(ada)


async def test_who_was_in_a_process_that_died_is_gone_in_time():
    ada = Member("lobby", "ada", lambda: None)
    await hub().broker.here("lobby", ["another bob"], [], presence.EXPIRY, presence.GRACE)
    await asyncio.sleep(0.06)
    assert '["ada", "bob"]' in await here(ada)
    await asyncio.sleep(0.2)
    assert '["ada"]' in await here(ada)


async def test_nothing_is_done_where_nobody_is():
    ada = Member("lobby", "ada", lambda: None)
    await here(ada)
    await ada.leave()
    await asyncio.sleep(0.1)
    assert presence.gatherings() == {}
