"""Who is here."""

import asyncio
import json

import pytest

from realtime import presence
from realtime.brokers import memory
from realtime.hub import hub
from realtime.presence import Member
from tests.sockets import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(memory, "members", memory.defaultdict(dict))
    times = {"HEARTBEAT": 0.05, "EXPIRY": 1, "GRACE": 0.1, "PAUSE": 0.01}
    for name, seconds in times.items():
        monkeypatch.setattr(presence, name, seconds)


def here(member: Member) -> list[str]:
    """Return the last news of who is here."""
    return json.loads(member.gathering.text or '{"here": []}')["here"]


async def test_everybody_is_told_who_comes():
    ada = Member("lobby", "ada", lambda: woken.append("ada"))
    woken: list[str] = []
    bob = Member("lobby", "bob", lambda: woken.append("bob"))
    await until(lambda: len(woken) >= 2)
    assert sorted(woken) == ["ada", "bob"]
    assert ada.next() == bob.next() == ada.gathering.text
    assert here(ada) == ["ada", "bob"]
    assert ada.next() is None


async def test_who_has_two_sockets_is_here_once_and_until_both_are_closed(monkeypatch):
    monkeypatch.setattr(presence, "EXPIRY", 10)
    ada, bob, again = (Member("lobby", name, lambda: None) for name in ("ada", "bob", "bob"))
    await until(lambda: here(ada) == ["ada", "bob"])
    await bob.leave()
    await asyncio.sleep(0.2)
    assert here(ada) == ["ada", "bob"]
    monkeypatch.setattr(presence, "GRACE", 1)
    await again.leave()
    await until(lambda: not ada.gathering.leaving)
    assert here(ada) == ["ada", "bob"]  # who may be back in a moment
    await until(lambda: here(ada) == ["ada"])


async def test_who_was_in_a_process_that_died_is_gone_in_time():
    ada = Member("lobby", "ada", lambda: None)
    await hub().broker.here("lobby", ["another bob"], [], presence.EXPIRY, presence.GRACE)
    await until(lambda: here(ada) == ["ada", "bob"])
    await until(lambda: here(ada) == ["ada"])


async def test_nothing_is_done_where_nobody_is():
    ada = Member("lobby", "ada", lambda: None)
    await until(lambda: here(ada) == ["ada"])
    await ada.leave()
    await until(lambda: presence.gatherings() == {})
