"""Who is here. Each process says so again and again: who was in one that died is soon gone, too."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from redis.exceptions import RedisError

from realtime.hub import hub
from realtime.loops import PerLoop, background

logger = logging.getLogger(__name__)

# In seconds
HEARTBEAT = 3  # between two times that a process says who is here
EXPIRY = 10  # until it is taken for dead
GRACE = 4  # in which who has left may come back, as after a reload, without being missed
PAUSE = 0.5  # for several who come or go at once


class Gathering:
    """Who follows a stream and shows it, in this process and in the others.

    Args:
        stream: its name.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.process = uuid4().hex[:12]
        self.members: defaultdict[str, set[Member]] = defaultdict(set)
        self.leaving: set[str] = set()
        self.changed = asyncio.Event()
        self.text: str | None = None
        background(self.run())

    async def run(self) -> None:
        """Say who is here as long as somebody is, and tell them of any change."""
        while self.members or self.leaving:
            self.changed.clear()
            try:
                await self.beat()
            except (OSError, RedisError) as error:
                logger.debug("who is in %s is not known: %r", self.stream, error)
            await asyncio.sleep(PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT - PAUSE):
                    await self.changed.wait()
        del gatherings()[self.stream]

    async def beat(self) -> None:
        """Say who is here, and hear who is. Raises OSError or redis.RedisError."""
        leaving = [f"{self.process} {name}" for name in self.leaving - self.members.keys()]
        staying = [f"{self.process} {name}" for name in self.members]
        self.leaving.clear()
        members = await hub().broker.here(self.stream, staying, leaving, EXPIRY, GRACE)
        names = sorted({member.partition(" ")[2] for member in members} - {""})  # strangers
        text = json.dumps({"type": "presence", "stream": self.stream, "here": names})
        if text != self.text:
            self.text = text
            for member in set().union(*self.members.values()):
                member.wake()


class Member:
    """Somebody who is here, by one socket.

    Args:
        stream: where.
        name: by which the others know them.
        wake: called when `next` has something new.
    """

    def __init__(self, stream: str, name: str, wake: Callable[[], None]) -> None:
        if stream not in gatherings():
            gatherings()[stream] = Gathering(stream)
        self.gathering = gatherings()[stream]
        self.name = name
        self.wake = wake
        self.told: str | None = None
        self.gathering.members[name].add(self)
        self.gathering.changed.set()

    def next(self) -> str | None:
        """Return who is here, if that has changed. Who is slow gets the latest, not each."""
        if self.told == self.gathering.text:
            return None
        self.told = self.gathering.text
        return self.told

    async def leave(self) -> None:
        """Be here no more."""
        others = self.gathering.members[self.name]
        others.discard(self)
        if not others:
            del self.gathering.members[self.name]
            self.gathering.leaving.add(self.name)
        self.gathering.changed.set()


gatherings = PerLoop(dict[str, Gathering])
