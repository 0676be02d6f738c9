"""From a stream to the sockets of this process that follow it: once received, once encoded."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError

from config import contract
from realtime.brokers import Broker, Excerpt, Position
from realtime.loops import PerLoop, background

logger = logging.getLogger(__name__)

# In seconds
LISTEN_TIMEOUT = 6  # until a stream that nobody could listen to is an error
COMPARE_EVERY = 5  # between two looks at whether the end of each stream has arrived here

COMPACT = (",", ":")


class TooSlow(Exception):
    """A subscriber is so far behind that what comes next is no longer kept."""


class Feed:
    """A stream as this process has it: the end of its history, and who follows it.

    What comes is only taken if it is the next one. Else what is missing is read from the broker,
    however it was lost: in a restart of Redis, while the connection was away, or before listening.

    Args:
        name: of the stream.
        broker: where it is kept.
    """

    def __init__(self, name: str, broker: Broker) -> None:
        self.name = name
        self.broker = broker
        self.lock = asyncio.Lock()
        self.listening = asyncio.Event()
        self.subscriptions: set[Subscription] = set()
        self.behind = False
        self.catching_up: asyncio.Task | None = None
        # How often continuity was lost, which each subscriber must be told.
        self.breaks = 0
        self.start: Position | None = None
        self.whole = False  # whether the broker has nothing older than this
        self.texts: deque[str] = deque()

    @property
    def end(self) -> Position:
        """The position of the last message that has arrived."""
        return self.start._replace(seq=self.start.seq + len(self.texts))

    async def reach(self, position: Position | None) -> None:
        """Get what has come after a position, as far as it is kept, here or by the broker.

        Raises:
            TimeoutError, OSError, redis.RedisError: it cannot be had.
        """
        async with self.lock:
            if not self.start:
                await self.broker.listen(self.name)
                async with asyncio.timeout(LISTEN_TIMEOUT):
                    await self.listening.wait()
                self.begin(await self.broker.read(self.name, position))
            elif position and self.lacks(position):
                self.prepend(await self.broker.read(self.name, position))
                self.whole = position < self.start
        # Another process was ahead of this one, or the epoch is another one by now.
        if position and position > self.end:
            await self.catch_up()

    def lacks(self, position: Position) -> bool:
        """Whether the broker may have what follows a position, which is not all here."""
        return position.epoch == self.start.epoch and position < self.start and not self.whole

    def begin(self, excerpt: Excerpt) -> None:
        """Start from what the broker has."""
        self.start = excerpt.start
        self.whole = False
        self.texts.clear()
        for message in excerpt.messages:
            self.add(message)

    def prepend(self, excerpt: Excerpt) -> None:
        """Put older messages before those that are here."""
        missing = self.start.seq - excerpt.start.seq
        if excerpt.start.epoch == self.start.epoch and 0 < missing <= len(excerpt.messages):
            for message in reversed(excerpt.messages[:missing]):
                self.texts.appendleft(self.encode(self.start.seq, message))
                self.start = self.start._replace(seq=self.start.seq - 1)

    def encode(self, seq: int, message: str) -> str:
        """Return what is sent for a message, to every socket."""
        head = {"type": "message", "stream": self.name, "epoch": self.start.epoch, "seq": seq}
        return f'{json.dumps(head, separators=COMPACT)[:-1]},"data":{message}}}'

    def add(self, message: str) -> None:
        """Take the next message, and forget the oldest one."""
        self.texts.append(self.encode(self.end.seq + 1, message))
        if len(self.texts) > contract.HISTORY_LENGTH:
            self.texts.popleft()
            self.start = self.start._replace(seq=self.start.seq + 1)

    def hear(self, position: Position, message: str) -> None:
        """Take a message if it is the next one, leave it if it is known, else find what lacks."""
        if self.start and position == self.end._replace(seq=self.end.seq + 1):
            self.add(message)
            self.wake()
        elif not self.start or position.epoch != self.start.epoch or position > self.end:
            self.catch_up_soon()

    def wake(self) -> None:
        """Tell everybody that there is something to send."""
        for subscription in self.subscriptions:
            subscription.wake()

    def catch_up_soon(self) -> None:
        """Find what lacks, in the background; once more, if that is just being done."""
        self.behind = True
        if not self.catching_up or self.catching_up.done():
            self.catching_up = background(self.catch_up_at_last())

    async def catch_up_at_last(self) -> None:
        """Find what lacks, for as long as somebody wants it."""
        while self.behind and self.subscriptions:
            self.behind = False
            try:
                await self.catch_up()
            except (OSError, RedisError) as error:
                self.behind = True
                logger.debug("%s cannot be read, and is tried again: %r", self.name, error)

    async def catch_up(self) -> None:
        """Read what follows the end. What cannot be had any more is a break, and is said to be one.

        Raises:
            OSError, redis.RedisError: the broker does not answer.
        """
        async with self.lock:
            if not self.start:
                return
            asked = self.end
            excerpt = await self.broker.read(self.name, asked)
            if asked == excerpt.start:
                # Some of them may have come by themselves meanwhile.
                for message in excerpt.messages[self.end.seq - asked.seq :]:
                    self.add(message)
            else:
                self.breaks += 1
                self.begin(excerpt._replace(messages=[]))
        self.wake()


class Subscription:
    """How far one socket has come in a stream. There is no queue: all read the feed's history.

    Args:
        feed: the stream.
        wake: called when `next` has something new.
    """

    __slots__ = ("breaks", "feed", "greeted", "recovered", "seq", "wake")

    def __init__(self, feed: Feed, wake: Callable[[], None]) -> None:
        self.feed = feed
        self.wake = wake
        self.greeted = False

    def begin(self, position: Position | None) -> None:
        """Take a position from which to go on; the end, if it is not in the history."""
        start, end = self.feed.start, self.feed.end
        self.recovered = position is not None and start <= position <= end
        self.recovered = self.recovered and position.epoch == start.epoch
        self.seq = position.seq if self.recovered else end.seq
        self.breaks = self.feed.breaks

    def next(self) -> str | None:
        """Return what is to be sent next, or nothing for now.

        Raises:
            TooSlow: it is gone.
        """
        feed = self.feed
        if self.breaks != feed.breaks:
            self.begin(None)
            self.greeted = False
        if not self.greeted:
            self.greeted = True
            greeting = {"type": "subscribed", "stream": feed.name, "epoch": feed.start.epoch}
            greeting |= {"seq": self.seq, "recovered": self.recovered}
            return json.dumps(greeting, separators=COMPACT)
        index = self.seq - feed.start.seq
        if index < 0:
            raise TooSlow(feed.name)
        if index == len(feed.texts):
            return None
        self.seq += 1
        return feed.texts[index]

    async def leave(self) -> None:
        """Follow the stream no more."""
        self.feed.subscriptions.discard(self)
        if not self.feed.subscriptions:
            await hub().forget(self.feed)


class Hub:
    """All feeds of an event loop."""

    def __init__(self) -> None:
        self.broker = Broker(self.hear, self.listening)
        self.feeds: dict[str, Feed] = {}
        background(self.broker.run())
        background(self.compare())

    def hear(self, stream: str, position: Position, message: str) -> None:
        """Take what is published."""
        if feed := self.feeds.get(stream):
            feed.hear(position, message)

    def listening(self, stream: str) -> None:
        """Note that what is published from now on is heard; what was before may not have been."""
        if feed := self.feeds.get(stream):
            if feed.listening.is_set():
                feed.catch_up_soon()
            feed.listening.set()

    async def subscribe(
        self, stream: str, position: Position | None, wake: Callable[[], None]
    ) -> Subscription:
        """Follow a stream from a position, or from now.

        First it is listened to, then its past is read: nothing falls in between, and what comes by
        both ways has the same number.

        Raises:
            TimeoutError, OSError, redis.RedisError: the broker does not answer.
        """
        feed = self.feeds.get(stream)
        if not feed:
            feed = self.feeds[stream] = Feed(stream, self.broker)
        subscription = Subscription(feed, wake)
        feed.subscriptions.add(subscription)
        try:
            await feed.reach(position)
        except BaseException:
            await subscription.leave()
            raise
        subscription.begin(position)
        return subscription

    async def forget(self, feed: Feed) -> None:
        """Listen no more to a stream that nobody follows."""
        if self.feeds.get(feed.name) is feed:
            del self.feeds[feed.name]
            await self.broker.unlisten(feed.name)

    async def compare(self) -> None:
        """Find lost messages that no later one reveals, and keep the streams from expiring."""
        while True:
            await asyncio.sleep(COMPARE_EVERY)
            feeds = [feed for feed in self.feeds.values() if feed.start]
            if feeds:
                with suppress(OSError, RedisError):  # `run` says so
                    ends = await self.broker.ends(feed.name for feed in feeds)
                    for feed, end in zip(feeds, ends, strict=True):
                        if end != feed.end:
                            feed.catch_up_soon()


hub = PerLoop(Hub)
