"""Presence: the members of a stream."""

import asyncio
import json

import pytest

from realtime import presence
from realtime.brokers import broker, memory
from realtime.presence import Member
from tests.websockets import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(memory, "members", memory.defaultdict(dict))
    times = {"HEARTBEAT": 0.05, "EXPIRY": 1, "GRACE": 0.1, "PAUSE": 0.01}
    for name, seconds in times.items():
        monkeypatch.setattr(presence, name, seconds)


def seen_by(member: Member) -> list[str]:
    """Return the members in the last presence message."""
    return json.loads(member.presence.text or '{"members": []}')["members"]


async def test_join():
    """Every member is notified when another one joins."""
    ada = Member("lobby", "ada", lambda: woken.append("ada"))
    woken: list[str] = []
    bob = Member("lobby", "bob", lambda: woken.append("bob"))
    await until(lambda: len(woken) >= 2)
    assert sorted(woken) == ["ada", "bob"]
    assert ada.next_text() == bob.next_text() == ada.presence.text
    assert seen_by(ada) == ["ada", "bob"]
    assert ada.next_text() is None


async def test_member_with_two_sockets(monkeypatch):
    """A member with two sockets is listed once, until both are closed."""
    monkeypatch.setattr(presence, "EXPIRY", 10)
    ada, bob, again = (Member("lobby", name, lambda: None) for name in ("ada", "bob", "bob"))
    await until(lambda: seen_by(ada) == ["ada", "bob"])
    await bob.leave()
    await asyncio.sleep(0.2)
    assert seen_by(ada) == ["ada", "bob"]
    monkeypatch.setattr(presence, "GRACE", 1)
    await again.leave()
    await until(lambda: not ada.presence.leaving)
    assert seen_by(ada) == ["ada", "bob"]  # listed for GRACE seconds, in case of a reconnect
    await until(lambda: seen_by(ada) == ["ada"])


async def test_members_of_killed_process():
    """The members of a process that died expire."""
    ada = Member("lobby", "ada", lambda: None)
    await broker().presence.update("lobby", ["another bob"], [], presence.EXPIRY, presence.GRACE)
    await until(lambda: seen_by(ada) == ["ada", "bob"])
    await until(lambda: seen_by(ada) == ["ada"])


async def test_last_member_leaves():
    """A stream whose last member has left is dropped."""
    ada = Member("lobby", "ada", lambda: None)
    await until(lambda: seen_by(ada) == ["ada"])
    await ada.leave()
    await until(lambda: presence.presences() == {})
