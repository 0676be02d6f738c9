"""Streams in Redis: each is a Redis Stream, and a pub/sub channel of the same name."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import redis
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from realtime import conf
from realtime.brokers.base import HistoryPage, OnGap, OnMessage, Position
from realtime.brokers.redis.connection import RedisConnection, retry_delay

logger = logging.getLogger(__name__)

# In seconds
SUBSCRIBE_TIMEOUT = 6  # until a subscription that is not confirmed is an error
PING_AFTER = 2  # of silence, until the pub/sub connection is checked

# Bytes of messages per answer, plus a few messages: an answer must arrive within the timeout.
PAGE_BYTES = 1024**2


def append_arguments(message: str) -> list[Any]:
    """Return the arguments of append.lua."""
    settings = conf.settings()
    return [message, settings.HISTORY_LENGTH, settings.HISTORY_SECONDS]


def ends_arguments() -> list[Any]:
    """Return the arguments of ends.lua."""
    return [conf.settings().HISTORY_SECONDS]


class RedisStreams:
    """Implements StreamBroker."""

    on_message: OnMessage
    on_gap: OnGap

    def __init__(self, connection: RedisConnection) -> None:
        self.connection = connection
        # By channel, whether the subscription is confirmed
        self.channels: dict[str, asyncio.Event] = {}
        self.pubsub: aioredis.client.PubSub | None = None
        self.sending = asyncio.Lock()  # keeps commands in order

    async def append(self, stream: str, message: str, key: str) -> Position:
        keys = [self.connection.key("stream", stream), self.connection.key("published", key)]
        arguments = append_arguments(message)
        return Position.parse(await self.connection.retry_script("append", keys, arguments))

    async def read(self, stream: str, after: Position | None) -> HistoryPage:
        keys = [self.connection.key("stream", stream)]
        at, messages = after or Position(0, 0), list[str]()
        while True:
            arguments = [str(at), conf.settings().HISTORY_SECONDS, PAGE_BYTES]
            last, entries = await self.connection.retry_script("read", keys, arguments)
            end = Position.parse(last)
            if entries:
                if Position.parse(entries[0][0]).seq != at.seq + 1:
                    messages.clear()  # the messages in between were dropped from the history
                messages += [fields[1] for _, fields in entries]
                at = Position.parse(entries[-1][0])
            if at == end:
                return HistoryPage(end, messages)
            if not entries:
                return HistoryPage(end, [])  # a new epoch has begun

    async def ends(self, streams: Iterable[str]) -> list[Position]:
        keys = [self.connection.key("stream", stream) for stream in streams]
        ends = await self.connection.retry_script("ends", keys, ends_arguments())
        return [Position.parse(end) for end in ends]

    async def subscribe(self, stream: str) -> None:
        channel = self.connection.key("stream", stream)
        confirmed = self.channels.setdefault(channel, asyncio.Event())
        await self.send("subscribe", channel)
        async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
            await confirmed.wait()

    async def unsubscribe(self, stream: str) -> None:
        channel = self.connection.key("stream", stream)
        self.channels.pop(channel, None)
        await self.send("unsubscribe", channel)

    async def send(self, command: str, channel: str) -> None:
        """Send a command. Without a connection, `run` subscribes to all channels with the next."""
        async with self.sending:
            if self.pubsub:
                try:
                    await getattr(self.pubsub, command)(channel)
                except (RedisError, OSError):
                    logger.debug("%s %s was not sent", command, channel, exc_info=True)

    async def run(self) -> None:
        """Receive published messages; reconnect after each lost connection."""
        lost = False
        while True:
            pubsub = self.connection.redis.pubsub()
            try:
                async with self.sending:
                    # The first channel has no messages: it keeps the connection in use.
                    await pubsub.subscribe(self.connection.key("stream"), *self.channels)
                    self.pubsub = pubsub
                if lost:
                    lost = False
                    logger.warning("Redis connection restored")
                await self.receive(pubsub)
            except (RedisError, OSError) as error:
                if not lost:
                    lost = True
                    logger.warning("Redis connection lost, reconnecting: %s", error)
            except Exception:
                logger.exception("receiving from Redis failed")
            self.pubsub = None
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(retry_delay())

    async def receive(self, pubsub: aioredis.client.PubSub) -> None:
        """Receive messages until the connection is lost. Raises redis.RedisError or OSError."""
        channel_prefix = self.connection.key("stream") + ":"
        pinged = False
        while True:
            match await pubsub.get_message(timeout=PING_AFTER):
                case None if pinged:
                    raise redis.exceptions.TimeoutError("no answer to a ping")
                case None:
                    pinged = True
                    await pubsub.ping()
                    continue
                case {"type": "message", "channel": channel, "data": data}:
                    position, _, message = data.partition(" ")
                    stream = channel.removeprefix(channel_prefix)
                    self.on_message(stream, Position.parse(position), message)
                case {"type": "subscribe", "channel": channel}:
                    self.confirm(channel, channel.removeprefix(channel_prefix))
            pinged = False

    def confirm(self, channel: str, stream: str) -> None:
        """Note that a channel is subscribed, or subscribed again after a lost connection."""
        confirmed = self.channels.get(channel)
        if confirmed and confirmed.is_set():
            self.on_gap(stream)
        elif confirmed:
            confirmed.set()
