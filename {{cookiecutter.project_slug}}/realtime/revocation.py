"""Session revocation: close the sockets of users who logged out, were deactivated, or changed their
password.

A session is read when a socket is opened, and Channels does not check it again:
https://channels.readthedocs.io/en/stable/topics/authentication.html
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from channels.auth import get_user
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error, transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest
from redis.exceptions import RedisError

from realtime.brokers import blocking_broker
from realtime.brokers.base import Position
from realtime.event_loop import EventLoopLocal, spawn
from realtime.hub import hub
from realtime.stream_cache import Subscription

if TYPE_CHECKING:
    from realtime.consumers import Consumer

logger = logging.getLogger(__name__)

# Its messages name the users whose sockets every process has to recheck.
STREAM = "realtime.revocation"

# In seconds
RECHECK_EVERY = 300  # between two checks of each session, for changes without a signal: expiry
HANDSHAKE = 30  # from when a session is read until its socket is registered, at most


def raw(stream: str, position: Position, message: str) -> str:
    """Leave messages as they were published."""
    return message


class SocketRegistry:
    """The sockets of all authenticated users in this process."""

    def __init__(self) -> None:
        self.consumers: defaultdict[str, set[Consumer]] = defaultdict(set)
        self.recent: dict[str, float] = {}  # users that were named, oldest first, and when
        spawn(self.follow())
        spawn(self.recheck_periodically())

    def register(self, consumer: "Consumer") -> None:
        """Add a socket, if its user is authenticated."""
        if consumer.user.is_authenticated:
            user = str(consumer.user.pk)
            self.consumers[user].add(consumer)
            if user in self.recent:  # perhaps after the session of this socket was read
                spawn(self.recheck_user(user))

    def unregister(self, consumer: "Consumer") -> None:
        """Remove a socket."""
        user = str(consumer.user.pk)
        self.consumers[user].discard(consumer)
        if not self.consumers[user]:
            del self.consumers[user]

    async def follow(self) -> None:
        """Recheck the users that are named in the stream."""
        news = asyncio.Event()
        subscription = await self.subscribe(news)
        subscription.next()  # where it begins
        while True:
            while item := subscription.next():
                if isinstance(item, str):
                    revoked = json.loads(item)
                    self.remember(revoked["user"])
                    await self.recheck_user(revoked["user"], revoked["session"])
                else:
                    # Messages were lost, perhaps of a session that is just being deleted.
                    await asyncio.sleep(1)
                    await self.recheck_all()
            news.clear()
            await news.wait()

    async def subscribe(self, news: asyncio.Event) -> Subscription:
        """Subscribe to the stream, with retries until the broker answers."""
        while True:
            try:
                return await hub().subscribe(STREAM, None, news.set, encode=raw)
            except (OSError, RedisError):
                await asyncio.sleep(1)

    def remember(self, user: str) -> None:
        """Remember a user for HANDSHAKE seconds."""
        now = time.monotonic()
        self.recent.pop(user, None)
        self.recent[user] = now
        while now - (oldest := next(iter(self.recent.items())))[1] > HANDSHAKE:
            del self.recent[oldest[0]]

    async def recheck_periodically(self) -> None:
        """Recheck all users, one after the other."""
        while True:
            await asyncio.sleep(RECHECK_EVERY)
            await self.recheck_all()

    async def recheck_all(self) -> None:
        """Close each socket whose session is no longer valid."""
        for user in list(self.consumers):
            await self.recheck_user(user)

    async def recheck_user(self, user: str, ended: str | None = None) -> None:
        """Close the sockets of a user whose sessions are no longer valid.

        Args:
            user: the primary key.
            ended: the key of a session that is just being deleted.
        """
        for consumer in list(self.consumers.get(user, ())):
            session = consumer.scope["session"]
            deleted = ended and session.session_key == ended
            if deleted or not await is_valid(session, user):
                await consumer.revoke()


def load_session(key: str | None) -> SessionBase:
    """Return the session of a key, which is read from the store; without a key, a new one."""
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return store


async def is_valid(session: SessionBase, user: str) -> bool:
    """Return whether a session still authenticates a user.

    Args:
        session: as it was when the socket was opened. One without a key was never saved: it belongs
            to a ticket, and is valid as long as the account is (realtime/tickets.py).
        user: the primary key.
    """
    if session.session_key:
        session = load_session(session.session_key)
    try:
        found = await get_user({"session": session})  # type: ignore[typeddict-item]
    except Error:
        logger.exception("checking a session failed")
        return True
    return str(found.pk) == user


registry = EventLoopLocal(SocketRegistry)


def notify(user: AbstractBaseUser, session: str | None = None) -> None:
    """Have all processes recheck the sockets of a user. An error is logged, not raised."""
    data = json.dumps({"user": str(user.pk), "session": session})
    append = partial(blocking_broker().append, STREAM, data, uuid4().hex)
    transaction.on_commit(append, robust=True)


@receiver(user_logged_out)
def on_logout(
    sender: object, request: HttpRequest, user: AbstractBaseUser | None, **kwargs: Any
) -> None:
    """Close the sockets of a session that ends."""
    if user:
        notify(user, request.session.session_key)


@receiver([post_save, post_delete], sender=settings.AUTH_USER_MODEL)
def on_user_change(
    sender: object,
    instance: AbstractBaseUser,
    update_fields: frozenset[str] | None = None,
    **kwargs: Any,
) -> None:
    """Recheck a user whose password or state may have changed; a log-in changes neither."""
    if update_fields is None or {"password", "is_active"} & set(update_fields):
        notify(instance)
