"""How many sockets a user may have open: WS_PER_USER, on all replicas together.

Each process tells the broker how many of each user it has, and again and again that it lives: one
that was killed is soon forgotten, and its sockets with it.
"""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from uuid import uuid4

from redis.exceptions import RedisError

from config import contract
from realtime.consumers import TooManyConsumer
from realtime.hub import hub
from realtime.loops import PerLoop, background

logger = logging.getLogger(__name__)

# In seconds
HEARTBEAT = 1  # between two times that a process says that it lives, and which sockets have gone
EXPIRY = 5  # until it is taken for dead
TIMEOUT = 2  # until the broker is taken for away
RECHECK = 1.5  # until one socket too many is counted again; more than HEARTBEAT
# Users of whom the broker is told at once. It hears nobody else meanwhile.
AT_ONCE = 500


@dataclass(slots=True)
class Sockets:
    """The sockets of one user in this process."""

    open: int = 0
    waiting: list[asyncio.Future[bool]] = field(default_factory=list)

    def let_in(self, asked: int, free: int) -> None:
        """Answer those who have waited longest.

        Args:
            asked: how many of them.
            free: how many of these may come in.
        """
        for waiting in self.waiting[:asked]:
            if not waiting.done():  # else it has left
                waiting.set_result(free > 0)
                self.open += free > 0
                free -= 1
        del self.waiting[:asked]


class Seats:
    """The sockets of all users in this process.

    The broker is asked by one call at a time, for all who have come meanwhile, so that what it is
    told comes in order. While it does not answer, everybody is let in up to WS_PER_USER sockets in
    this process alone; it is told of them when it is back.
    """

    def __init__(self) -> None:
        self.process = uuid4().hex[:12]
        self.users: defaultdict[str, Sockets] = defaultdict(Sockets)
        self.changed: set[str] = set()
        self.came = asyncio.Event()
        self.away = False
        self.telling: asyncio.Task | None = None

    async def take(self, user: str) -> bool:
        """Count one more socket of a user, or say that this would be one too many."""
        sockets = self.users[user]
        if sockets.open >= contract.WS_PER_USER:
            return False
        self.changed.add(user)
        if not self.telling or self.telling.done():
            self.telling = background(self.tell())
        if self.away:
            sockets.open += 1
            return True
        answer = asyncio.get_running_loop().create_future()
        sockets.waiting.append(answer)
        self.came.set()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.result():
                self.leave(user)
            raise

    def leave(self, user: str) -> None:
        """Count one socket less, and tell so with the next beat, or with the next one who comes."""
        self.users[user].open -= 1
        self.changed.add(user)

    async def tell(self) -> None:
        """Tell the broker what changes, and that this process lives, as long as it has sockets."""
        while self.users:
            self.came.clear()
            await self.tell_of(list(islice(self.changed, AT_ONCE)))
            if self.away or len(self.changed) < AT_ONCE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):
                        await self.came.wait()

    async def tell_of(self, users: list[str]) -> None:
        """Tell the broker of some users, and answer those of their sockets that wait."""
        self.changed.difference_update(users)
        told = [(self.users[user].open, len(self.users[user].waiting)) for user in users]
        try:
            async with asyncio.timeout(TIMEOUT):
                forgotten, free = await hub().broker.seats(
                    self.process, dict(zip(users, told, strict=True)), EXPIRY
                )
            self.away = False
        except (OSError, RedisError) as error:
            logger.debug("sockets are counted in this process only: %r", error)
            self.away = forgotten = True
            free = [contract.WS_PER_USER - count for count, _ in told]
        for user, (count, asked), seats in zip(users, told, free, strict=True):
            sockets = self.users[user]
            sockets.let_in(asked, seats)
            if sockets.open != count + min(asked, seats) or sockets.waiting:
                self.changed.add(user)
            elif not sockets.open:
                del self.users[user]
        if forgotten:
            self.changed.update(self.users)


seats = PerLoop(Seats)


class PerUser:
    """ASGI middleware that closes with 4429 what is one socket too many of the user in the scope.

    What a user has just closed elsewhere may still be counted, as when a replica is drained: so one
    too many is counted a second time, after a moment. Strangers are nobody to be counted, but by
    nginx, by their addresses.
    """

    def __init__(self, application) -> None:
        self.application = application

    async def __call__(self, scope, receive, send) -> None:
        if not scope["user"].is_authenticated:
            await self.application(scope, receive, send)
            return
        user = str(scope["user"].pk)
        if not (await seats().take(user) or await take_later(user)):
            await TooManyConsumer.as_asgi()(scope, receive, send)
            return
        try:
            await self.application(scope, receive, send)
        finally:
            seats().leave(user)


async def take_later(user: str) -> bool:
    """Count one more socket when what has gone is known to have gone, if that is not too many."""
    await asyncio.sleep(RECHECK)
    return await seats().take(user)
