"""The recent messages of a stream in this process: received once, encoded once for all sockets."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from redis.exceptions import RedisError

from realtime import conf, protocol
from realtime.brokers.base import HistoryPage, Position, StreamBroker
from realtime.event_loop import spawn

logger = logging.getLogger(__name__)

Encoder = Callable[[str, Position, str], str]
"""Returns a subscriber's message, from the stream's name, the position and the data as JSON."""


class TooSlow(Exception):
    """The next message of a subscriber has left the cache."""


class StreamCache:
    """The end of a stream's history, and its subscribers in this process.

    A message is accepted only if it is the next one. Otherwise the missing range is read from the
    broker, whatever the cause: Redis was restarted, its connection was lost, or the message was
    published before the subscription.

    Args:
        name: of the stream.
        broker: where the stream is kept.
        on_unused: called when the last subscriber has left.
        encode: returns the message for subscribers.
    """

    def __init__(
        self,
        name: str,
        broker: StreamBroker,
        on_unused: "Callable[[StreamCache], Awaitable[None]]",
        encode: Encoder = protocol.message,
    ) -> None:
        self.name = name
        self.broker = broker
        self.on_unused = on_unused
        self.encode = encode
        self.lock = asyncio.Lock()
        self.subscriptions: set[Subscription] = set()
        self.behind = False
        self.catching_up: asyncio.Task[None] | None = None
        # Incremented when messages were lost: each subscriber then gets `recovered: false`.
        self.generation = 0
        self.start = Position(0, 0)
        self.started = False
        self.complete = False  # whether the broker has nothing older
        self.messages: deque[str] = deque()

    @property
    def end(self) -> Position:
        """The position of the last message."""
        return self.start._replace(seq=self.start.seq + len(self.messages))

    async def load(self, position: Position | None) -> None:
        """Load the messages after a position, as far as the broker still has them.

        Raises:
            TimeoutError, OSError, redis.RedisError: the broker does not answer.
        """
        async with self.lock:
            if not self.started:
                # First subscribe, then read the history: no message can be lost in between, and one
                # that arrives by both ways has the same number.
                await self.broker.subscribe(self.name)
                self.reset(await self.broker.read(self.name, position))
            elif position and self.is_missing(position):
                self.prepend(await self.broker.read(self.name, position))
                self.complete = position < self.start
        # Another process was ahead of this one, or the stream has a new epoch.
        if position and position > self.end:
            await self.catch_up()

    def is_missing(self, position: Position) -> bool:
        """Return whether the broker may have messages after a position that are not here."""
        return position.epoch == self.start.epoch and position < self.start and not self.complete

    def reset(self, page: HistoryPage) -> None:
        """Start from a page of the history."""
        self.start = page.start
        self.started = True
        self.complete = False
        self.messages.clear()
        for message in page.messages:
            self.append(message)

    def prepend(self, page: HistoryPage) -> None:
        """Add the older messages of a page at the front."""
        missing = self.start.seq - page.start.seq
        if page.start.epoch == self.start.epoch and 0 < missing <= len(page.messages):
            for message in reversed(page.messages[:missing]):
                self.messages.appendleft(self.encode(self.name, self.start, message))
                self.start = self.start._replace(seq=self.start.seq - 1)

    def append(self, message: str) -> None:
        """Add the next message, and drop the oldest one beyond HISTORY_LENGTH."""
        end = self.end
        position = end._replace(seq=end.seq + 1)
        self.messages.append(self.encode(self.name, position, message))
        if len(self.messages) > conf.settings().HISTORY_LENGTH:
            self.messages.popleft()
            self.start = self.start._replace(seq=self.start.seq + 1)

    def receive(self, position: Position, message: str) -> None:
        """Accept a published message if it is the next one, ignore a known one, else catch up."""
        if self.started and position == self.end._replace(seq=self.end.seq + 1):
            self.append(message)
            self.wake()
        elif not self.started or position.epoch != self.start.epoch or position > self.end:
            self.catch_up_soon()

    def wake(self) -> None:
        """Notify all subscribers that there is something to send."""
        for subscription in self.subscriptions:
            subscription.wake()

    def catch_up_soon(self) -> None:
        """Start to catch up in a task. If one is running, it catches up once more."""
        self.behind = True
        if not self.catching_up or self.catching_up.done():
            self.catching_up = spawn(self.catch_up_until_done())

    async def catch_up_until_done(self) -> None:
        """Catch up, with retries as long as there are subscribers."""
        while self.behind and self.subscriptions:
            self.behind = False
            try:
                await self.catch_up()
            except (OSError, RedisError) as error:
                self.behind = True
                logger.debug("reading stream %s failed, retrying: %r", self.name, error)

    async def catch_up(self) -> None:
        """Read the messages after the end.

        If the gap is no longer in the history, start a new generation: subscribers receive
        `recovered: false`.

        Raises:
            OSError, redis.RedisError: the broker does not answer.
        """
        async with self.lock:
            if not self.started:
                return
            before = self.end
            page = await self.broker.read(self.name, before)
            if before == page.start:
                # Some of the messages may have been received meanwhile.
                for message in page.messages[self.end.seq - before.seq :]:
                    self.append(message)
            else:
                self.generation += 1
                self.reset(page._replace(messages=[]))
        self.wake()

    async def remove(self, subscription: "Subscription") -> None:
        """Remove a subscriber."""
        self.subscriptions.discard(subscription)
        if not self.subscriptions:
            await self.on_unused(self)


class Subscribed(NamedTuple):
    """Where a subscription begins, or continues after lost messages."""

    position: Position
    recovered: bool


class Subscription:
    """The position of one subscriber in a stream. Subscribers share the cache and have no queues.

    Args:
        cache: of the stream.
        wake: called when `next` has something new.
    """

    __slots__ = ("announced", "cache", "generation", "recovered", "seq", "wake")

    def __init__(self, cache: StreamCache, wake: Callable[[], None]) -> None:
        self.cache = cache
        self.wake = wake

    def begin(self, position: Position | None) -> None:
        """Start after a position if the cache has all later messages, or else at the end."""
        start, end = self.cache.start, self.cache.end
        self.recovered, self.seq = False, end.seq
        if position and position.epoch == start.epoch and start <= position <= end:
            self.recovered, self.seq = True, position.seq
        self.generation = self.cache.generation
        self.announced = False

    def next(self) -> Subscribed | str | None:
        """Return the next item: the start of the subscription, a message, or None for now.

        Raises:
            TooSlow: the next message has left the cache.
        """
        cache = self.cache
        if self.generation != cache.generation:
            self.begin(None)
        if not self.announced:
            self.announced = True
            return Subscribed(Position(cache.start.epoch, self.seq), self.recovered)
        index = self.seq - cache.start.seq
        if index < 0:
            raise TooSlow(cache.name)
        if index == len(cache.messages):
            return None
        self.seq += 1
        return cache.messages[index]

    def next_text(self) -> str | None:
        """Return the next wire message, or None for now. Raises TooSlow as `next` does."""
        item = self.next()
        if isinstance(item, Subscribed):
            return protocol.subscribed(self.cache.name, item.position, recovered=item.recovered)
        return item

    async def leave(self) -> None:
        """End the subscription."""
        await self.cache.remove(self)
