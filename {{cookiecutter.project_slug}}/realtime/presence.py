"""Presence: the members of a stream, in all processes.

Each process reports its members again and again, so that those of a killed process expire.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from redis.exceptions import RedisError

from realtime import protocol
from realtime.brokers import broker
from realtime.event_loop import EventLoopLocal, spawn

logger = logging.getLogger(__name__)

# In seconds
HEARTBEAT = 3  # between two reports
EXPIRY = 10  # until the members of a process that reports no more expire
GRACE = 4  # for a member that left: after a reload of its page it is not missed
PAUSE = 0.5  # in which several changes are collected


class Presence:
    """The members of a stream, in this process and in the others.

    Args:
        stream: its name.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.process = uuid4().hex[:12]
        self.local: defaultdict[str, set[Member]] = defaultdict(set)
        self.leaving: set[str] = set()
        self.changed = asyncio.Event()
        self.members: tuple[str, ...] | None = None  # of all processes, sorted; None at first
        self.text: str | None = None  # the message about them
        spawn(self.run())

    async def run(self) -> None:
        """Report the members of this process as long as it has any, and notify them of changes."""
        while self.local or self.leaving:
            self.changed.clear()
            try:
                await self.sync()
            except (OSError, RedisError) as error:
                logger.debug("presence of stream %s is unknown: %r", self.stream, error)
            await asyncio.sleep(PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT - PAUSE):
                    await self.changed.wait()
        del presences()[self.stream]

    async def sync(self) -> None:
        """Report the local members, and receive all. Raises OSError or redis.RedisError."""
        leaving = [f"{self.process} {name}" for name in self.leaving - self.local.keys()]
        present = [f"{self.process} {name}" for name in self.local]
        self.leaving.clear()
        found = await broker().presence.update(self.stream, present, leaving, EXPIRY, GRACE)
        # An anonymous user has no name.
        members = tuple(sorted({member.partition(" ")[2] for member in found} - {""}))
        if members != self.members:
            self.members = members
            self.text = protocol.presence(self.stream, members)
            for member in set().union(*self.local.values()):
                member.wake()


class Member:
    """A member of a stream, by one socket.

    Args:
        stream: its name.
        name: the member's, as the others see it.
        wake: called when `next_text` has something new.
    """

    def __init__(self, stream: str, name: str, wake: Callable[[], None]) -> None:
        if stream not in presences():
            presences()[stream] = Presence(stream)
        self.presence = presences()[stream]
        self.name = name
        self.wake = wake
        self.sent: str | None = None
        self.presence.local[name].add(self)
        self.presence.changed.set()

    def next_text(self) -> str | None:
        """Return the members if they have changed. A slow reader gets the latest state only."""
        if self.sent == self.presence.text:
            return None
        self.sent = self.presence.text
        return self.sent

    async def leave(self) -> None:
        """Leave the stream."""
        sockets = self.presence.local[self.name]
        sockets.discard(self)
        if not sockets:
            del self.presence.local[self.name]
            self.presence.leaving.add(self.name)
        self.presence.changed.set()


presences = EventLoopLocal(dict[str, Presence])
