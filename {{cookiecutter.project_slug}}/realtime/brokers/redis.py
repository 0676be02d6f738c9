"""Streams in Redis: each is a Redis Stream and, for who listens, a channel of the same name."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from config import contract
from realtime.brokers import Excerpt, Position

logger = logging.getLogger(__name__)

# In seconds
TIMEOUT = 2  # until a request is given up
RETRY_FOR = 6  # until retrying stops and the error is raised
PING_AFTER = 2  # of silence, until a connection is asked whether it is still one

# Bytes of messages that one answer has, and a few messages more. It must come within TIMEOUT.
AT_ONCE = 1024**2

UNREACHABLE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

LUA = Path(__file__).parent / "lua"
OPEN, APPEND, READ, ENDS, HERE, SEATS = (
    (LUA / f"{name}.lua").read_text()
    for name in ("open", "append", "read", "ends", "here", "seats")
)

# No retries: those are here, where it is known what may be asked twice.
OPTIONS = {
    "decode_responses": True,
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
    "max_connections": 16,
    "timeout": TIMEOUT,
}


class RedisBroker:
    """What one event loop has to do with Redis.

    Args:
        on_message: called with stream, position and message for each that is published while the
            stream is listened to; some may be missing.
        on_subscribed: called with a stream when that begins, and when it begins again after a time
            in which some may have been missed.
    """

    def __init__(
        self,
        on_message: Callable[[str, Position, str], None],
        on_subscribed: Callable[[str], None],
    ) -> None:
        self.on_message = on_message
        self.on_subscribed = on_subscribed
        pool = aioredis.BlockingConnectionPool.from_url(
            contract.REDIS_URL, **OPTIONS, retry=aioredis.retry.Retry(NoBackoff(), 0)
        )
        self.redis = aioredis.Redis.from_pool(pool)
        self.channels: set[str] = set()
        self.pubsub: aioredis.client.PubSub | None = None
        self.subscribing = asyncio.Lock()
        self.scripts = {
            script: self.redis.register_script(OPEN + script)
            for script in (APPEND, READ, ENDS, HERE, SEATS)
        }

    async def ask(self, script: str, keys: list[str], arguments: list) -> object:
        """Run a script, again and again until Redis answers or RETRY_FOR ends.

        Raises:
            redis.RedisError, OSError: it did not.
        """
        deadline = time.monotonic() + RETRY_FOR
        while True:
            try:
                return await self.scripts[script](keys, arguments)
            except UNREACHABLE:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(random.uniform(0.05, 0.5))

    async def append(self, stream: str, message: str, key: str) -> Position:
        """Add a message to a stream and send it to all who listen, in one round trip.

        Args:
            stream: its name.
            message: JSON.
            key: what the message is known by. One with the same key is not added again.

        Returns:
            where it stands.

        Raises:
            redis.RedisError, OSError: Redis does not answer. It may have been added all the same.
        """
        return Position.parse(await self.ask(APPEND, *appended(stream, message, key)))

    async def read(self, stream: str, after: Position | None) -> Excerpt:
        """Return what stands after a position, as far as it is still there; keep it from expiring.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        at, messages = after or Position(0, 0), []
        while True:
            arguments = [str(at), contract.HISTORY_SECONDS, AT_ONCE]
            end, entries = await self.ask(READ, [f"stream:{stream}"], arguments)
            end = Position.parse(end)
            if entries:
                if Position.parse(entries[0][0]).seq != at.seq + 1:
                    messages.clear()  # what comes next was dropped since the last answer
                messages += [fields[1] for _, fields in entries]
                at = Position.parse(entries[-1][0])
            if at == end:
                return Excerpt(end, messages)
            if not entries:
                return Excerpt(end, [])  # another epoch has begun

    async def ends(self, streams: Iterable[str]) -> list[Position]:
        """Return the end of each stream, and keep them from expiring.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        keys = [f"stream:{stream}" for stream in streams]
        ends = await self.ask(ENDS, keys, [contract.HISTORY_SECONDS])
        return [Position.parse(end) for end in ends]

    async def here(
        self, stream: str, staying: list[str], leaving: list[str], seconds: float, grace: float
    ) -> list[str]:
        """Say who is here, and return who is, of all processes.

        Args:
            stream: where.
            staying: members who are here for so many seconds, and again when that is said again.
            leaving: members who will be gone after the grace.
            seconds: until who stays is taken for gone.
            grace: seconds in which who leaves may come back unnoticed.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        arguments = [seconds, grace, len(staying), *staying, *leaving]
        return await self.ask(HERE, [f"here:{stream}"], arguments)

    async def seats(
        self, process: str, sockets: dict[str, tuple[int, int]], expiry: float
    ) -> tuple[bool, list[int]]:
        """Say that a process lives, and how many sockets of some users are there; asked only once.

        Args:
            process: its name.
            sockets: by user, how many there are, and how many more are to come.
            expiry: seconds until the process is taken for dead, unless it says that again.

        Returns:
            whether the process was not known, and so nothing that it has said of other users; and
            for each of these, how many may come, for all processes to have WS_PER_USER at most.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        keys = ["processes", *(f"sockets:{user}" for user in sockets)]
        kept = 2 * contract.WS_MAX_AGE  # no socket that has been counted lives as long
        counts = [count for pair in sockets.values() for count in pair]
        arguments = [process, expiry, contract.WS_PER_USER, kept, *counts]
        unknown, free = await self.scripts[SEATS](keys, arguments)
        return bool(unknown), free

    async def take(self, key: str) -> str | None:
        """Return a value that was kept, and forget it.

        Raises:
            redis.RedisError, OSError: Redis does not answer. It may have forgotten it all the same.
        """
        return await self.redis.getdel(key)

    async def listen(self, stream: str) -> None:
        """Begin to listen to a stream; `on_subscribed` is called when it has begun."""
        self.channels.add(f"stream:{stream}")
        await self.say("subscribe", stream)

    async def unlisten(self, stream: str) -> None:
        """Listen to a stream no more."""
        self.channels.discard(f"stream:{stream}")
        await self.say("unsubscribe", stream)

    async def say(self, command: str, stream: str) -> None:
        """Send a command. Without a connection it is left to `run`, which will have one."""
        async with self.subscribing:
            if self.pubsub:
                try:
                    await getattr(self.pubsub, command)(f"stream:{stream}")
                except (RedisError, OSError):
                    logger.debug("not sent for %s", stream, exc_info=True)

    async def run(self) -> None:
        """Take what is published, for ever, on one connection after the other."""
        lost = False
        while True:
            pubsub = self.redis.pubsub()
            try:
                async with self.subscribing:
                    # The first of them is nobody's, and keeps the connection one for listening.
                    await pubsub.subscribe("stream:", *self.channels)
                    self.pubsub = pubsub
                if lost:
                    lost = False
                    logger.warning("Redis is back")
                await self.hear(pubsub)
            except (RedisError, OSError) as error:
                if not lost:
                    lost = True
                    logger.warning("Redis is lost, and looked for: %s", error)
            except Exception:
                logger.exception("an error while listening to Redis")
            self.pubsub = None
            await pubsub.aclose()
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def hear(self, pubsub: aioredis.client.PubSub) -> None:
        """Take what is published until the connection ends. Raises redis.RedisError or OSError."""
        asked = False
        while True:
            match await pubsub.get_message(timeout=PING_AFTER):
                case None if asked:
                    raise redis.exceptions.TimeoutError("no answer")
                case None:
                    asked = True
                    await pubsub.ping()
                    continue
                case {"type": "message", "channel": channel, "data": data}:
                    position, _, message = data.partition(" ")
                    stream = channel.removeprefix("stream:")
                    self.on_message(stream, Position.parse(position), message)
                case {"type": "subscribe", "channel": channel}:
                    self.on_subscribed(channel.removeprefix("stream:"))
            asked = False


def appended(stream: str, message: str, key: str) -> tuple[list[str], list]:
    """Return the keys and the arguments of APPEND."""
    keys = [f"stream:{stream}", f"published:{key}"]
    return keys, [message, contract.HISTORY_LENGTH, contract.HISTORY_SECONDS]


def append(stream: str, message: str, key: str) -> Position:
    """Do what RedisBroker.append does, for callers without a loop. Raises as it does."""
    deadline = time.monotonic() + RETRY_FOR
    while True:
        try:
            return Position.parse(script(APPEND)(*appended(stream, message, key)))
        except UNREACHABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))


def end(stream: str) -> Position:
    """Return the end of a stream. Raises redis.RedisError or OSError if Redis does not answer."""
    (position,) = script(ENDS)([f"stream:{stream}"], [contract.HISTORY_SECONDS])
    return Position.parse(position)


def keep(key: str, value: str, seconds: int) -> None:
    """Keep a value until somebody takes it, for so many seconds at most. Raises as `end` does."""
    client().set(key, value, ex=seconds)


@cache
def client() -> redis.Redis:
    """Return a client whose connections all threads share."""
    retry = redis.retry.Retry(NoBackoff(), 0)
    pool = redis.BlockingConnectionPool.from_url(contract.REDIS_URL, **OPTIONS, retry=retry)
    return redis.Redis.from_pool(pool)


@cache
def script(text: str) -> Callable:
    """Return a script, ready to be called with keys and arguments."""
    return client().register_script(OPEN + text)
