"""Connection quota: the sockets that a user may have open, in all processes together.

Each process reports its count per user, every second: the sockets of a killed process are no longer
counted after EXPIRY.
"""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import cast
from uuid import uuid4

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from redis.exceptions import RedisError

from realtime import conf
from realtime.brokers import broker
from realtime.brokers.base import QuotaReply
from realtime.builtin_consumers import QuotaExceededConsumer
from realtime.event_loop import EventLoopLocal, spawn
from realtime.scopes import UserScope

logger = logging.getLogger(__name__)

# In seconds
HEARTBEAT = 1  # between two reports, each with the sockets that were closed
EXPIRY = 5  # until the sockets of a process that reports no more are not counted
TIMEOUT = 2  # until the broker is considered unreachable
RECHECK = 1.5  # until a socket above the quota is counted again; more than HEARTBEAT
# Users per report. The broker serves no other client meanwhile.
USERS_PER_SYNC = 500


@dataclass(slots=True)
class UserConnections:
    """The sockets of one user in this process."""

    open: int = 0
    waiting: list[asyncio.Future[bool]] = field(default_factory=list)

    def resolve(self, requested: int, granted: int) -> None:
        """Answer those that have waited longest.

        Args:
            requested: how many of them.
            granted: how many of these may open.
        """
        for waiting in self.waiting[:requested]:
            if not waiting.done():  # otherwise its client has disconnected
                waiting.set_result(granted > 0)
                self.open += granted > 0
                granted -= 1
        del self.waiting[:requested]


class ConnectionQuota:
    """The sockets of all users in this process.

    One call to the broker at a time covers all requests that arrived meanwhile, so that reports
    arrive in order. While the broker is unreachable, the quota holds for each process alone; the
    counts are reported when it is back.
    """

    def __init__(self) -> None:
        self.process = uuid4().hex[:12]
        self.users: defaultdict[str, UserConnections] = defaultdict(UserConnections)
        self.changed: set[str] = set()
        self.requested = asyncio.Event()
        self.unreachable = False
        self.syncing: asyncio.Task[None] | None = None

    async def acquire(self, user: str) -> bool:
        """Count one more socket of a user. Returns False if that would exceed the quota."""
        connections = self.users[user]
        if connections.open >= conf.settings().SOCKETS_PER_USER:
            return False
        self.changed.add(user)
        if not self.syncing or self.syncing.done():
            self.syncing = spawn(self.run())
        if self.unreachable:
            connections.open += 1
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        connections.waiting.append(answer)
        self.requested.set()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.result():
                self.release(user)
            raise

    def release(self, user: str) -> None:
        """Count one socket less. It is reported with the next heartbeat or request."""
        self.users[user].open -= 1
        self.changed.add(user)

    async def run(self) -> None:
        """Report changes and heartbeats, as long as this process has sockets."""
        while self.users:
            self.requested.clear()
            await self.sync(list(islice(self.changed, USERS_PER_SYNC)))
            if self.unreachable or len(self.changed) < USERS_PER_SYNC:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):
                        await self.requested.wait()

    async def sync(self, users: list[str]) -> None:
        """Report the counts of some users, and answer their waiting sockets."""
        self.changed.difference_update(users)
        counts = [(self.users[user].open, len(self.users[user].waiting)) for user in users]
        limit = conf.settings().SOCKETS_PER_USER
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await broker().quotas.sync(
                    self.process, dict(zip(users, counts, strict=True)), limit, EXPIRY
                )
            self.unreachable = False
        except (OSError, RedisError) as error:
            logger.debug("connections are counted in this process only: %r", error)
            self.unreachable = True
            reply = QuotaReply(True, [limit - opened for opened, _ in counts])
        for user, (opened, requested), granted in zip(users, counts, reply.granted, strict=True):
            connections = self.users[user]
            connections.resolve(requested, granted)
            if connections.open != opened + min(requested, granted) or connections.waiting:
                self.changed.add(user)
            elif not connections.open:
                del self.users[user]
        if reply.forgotten:
            self.changed.update(self.users)


quota = EventLoopLocal(ConnectionQuota)


class ConnectionQuotaMiddleware:
    """ASGI middleware that closes with 4429 above the quota of the user in the scope.

    A socket that the user has just closed elsewhere may still be counted, as when a replica is
    drained: above the quota it is counted a second time, after RECHECK. Anonymous users have no
    quota here; nginx limits them by address.
    """

    def __init__(self, app: ASGI3Application) -> None:
        self.app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        account = cast(UserScope, scope)["user"]
        if not account.is_authenticated:
            await self.app(scope, receive, send)
            return
        user = str(account.pk)
        if not (await quota().acquire(user) or await acquire_later(user)):
            await QuotaExceededConsumer.as_asgi()(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            quota().release(user)


async def acquire_later(user: str) -> bool:
    """Acquire after RECHECK, when sockets that were just closed are not counted any more."""
    await asyncio.sleep(RECHECK)
    return await quota().acquire(user)
