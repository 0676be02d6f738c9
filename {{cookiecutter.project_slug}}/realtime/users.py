"""Sockets of users who may not have them any more: logged out, deactivated, or with a new password.

A session is read when a socket is opened, and Channels does not look at it again:
https://channels.readthedocs.io/en/stable/topics/authentication.html
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from functools import partial
from importlib import import_module
from uuid import uuid4

from channels.auth import get_user
from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error, transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from redis.exceptions import RedisError

from realtime.brokers import append
from realtime.hub import hub
from realtime.loops import PerLoop, background

logger = logging.getLogger(__name__)

STREAM = "realtime.users"  # whose sockets are to be looked at, in all processes
# Seconds between two looks at each, for what nobody is told of: sessions that expire.
RECHECK_SECONDS = 300
# Seconds from when its session is read until a socket is watched, at most.
OPENING = 30


class Watch:
    """The sockets of all users in this process."""

    def __init__(self) -> None:
        self.consumers = defaultdict(set)
        self.named: dict[str, float] = {}  # of late, in the stream, and when
        background(self.follow())
        background(self.look_again())

    def remember(self, consumer) -> None:
        """Watch a socket, if somebody has logged in there."""
        if consumer.scope["user"].is_authenticated:
            user = str(consumer.scope["user"].pk)
            self.consumers[user].add(consumer)
            if user in self.named:  # perhaps after this session was read
                background(self.look_at(user))

    def forget(self, consumer) -> None:
        """Watch a socket no more."""
        user = str(consumer.scope["user"].pk)
        self.consumers[user].discard(consumer)
        if not self.consumers[user]:
            del self.consumers[user]

    async def follow(self) -> None:
        """Look at the sockets of those who are named in the stream."""
        news = asyncio.Event()
        while True:
            try:
                subscription = await hub().subscribe(STREAM, None, news.set)
                break
            except (OSError, RedisError):
                await asyncio.sleep(1)
        subscription.next()  # where it begins
        while True:
            while text := subscription.next():
                match json.loads(text):
                    case {"data": {"user": user, "session": session}}:
                        self.note(user)
                        await self.look_at(user, session)
                    case _:  # some are missing, perhaps of a session that is just about to end
                        await asyncio.sleep(1)
                        await self.look_at_all()
            news.clear()
            await news.wait()

    def note(self, user: str) -> None:
        """Remember for a while who was named, and no longer."""
        now = time.monotonic()
        self.named.pop(user, None)
        self.named[user] = now
        while now - (first := next(iter(self.named.items())))[1] > OPENING:
            del self.named[first[0]]

    async def look_again(self) -> None:
        """Look at everybody, one after the other."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self.look_at_all()

    async def look_at_all(self) -> None:
        """Close every socket that its session no longer allows."""
        for user in list(self.consumers):
            await self.look_at(user)

    async def look_at(self, user: str, ended: str | None = None) -> None:
        """Close the sockets of a user that their sessions no longer allow.

        Args:
            user: the primary key.
            ended: the key of a session that is just about to end.
        """
        for consumer in list(self.consumers.get(user, ())):
            session = consumer.scope["session"]
            gone = ended and session.session_key == ended
            if gone or not await may_stay(session, user):
                await consumer.refuse()


def session_of(key: str | None) -> SessionBase:
    """Return the session of a key, which is read anew; a new one without a key."""
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


async def may_stay(session: SessionBase, user: str) -> bool:
    """Whether a session still belongs to a user who may log in.

    Args:
        session: as it was when the socket was opened. One without a key was never saved: it came
            with a ticket, and lasts as long as the account (realtime/tickets.py).
        user: the primary key.
    """
    if session.session_key:
        session = session_of(session.session_key)
    try:
        return str((await get_user({"session": session})).pk) == user
    except Error:
        logger.exception("a session cannot be looked at")
        return True


watch = PerLoop(Watch)


def tell(user, session: str | None = None) -> None:
    """Have all processes look at the sockets of a user. An error is logged, not raised."""
    data = json.dumps({"user": str(user.pk), "session": session})
    transaction.on_commit(partial(append, STREAM, data, uuid4().hex), robust=True)


@receiver(user_logged_out)
def logged_out(sender, request, user, **kwargs) -> None:
    """Close the sockets of a session that ends."""
    if user:
        tell(user, request.session.session_key)


@receiver([post_save, post_delete], sender=settings.AUTH_USER_MODEL)
def changed(sender, instance, update_fields=None, **kwargs) -> None:
    """Look at the sockets of a user whose password or state may be another one. A log-in is not."""
    if update_fields is None or {"password", "is_active"} & set(update_fields):
        tell(instance)
