"""The subscriptions of this process: one per stream at the broker, for any number of sockets."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError

from realtime import protocol
from realtime.brokers import broker
from realtime.brokers.base import Position
from realtime.event_loop import EventLoopLocal, spawn
from realtime.stream_cache import Encoder, StreamCache, Subscription

COMPARE_EVERY = 5  # seconds between two checks that the end of each stream has been received


class Hub:
    """All stream caches of an event loop."""

    def __init__(self) -> None:
        self.broker = broker().streams
        self.broker.on_message = self.receive
        self.broker.on_gap = self.catch_up
        self.caches: dict[str, StreamCache] = {}
        spawn(self.broker.run())
        spawn(self.compare())

    def receive(self, stream: str, position: Position, message: str) -> None:
        """Pass a published message to its cache."""
        if cache := self.caches.get(stream):
            cache.receive(position, message)

    def catch_up(self, stream: str) -> None:
        """Read the messages that may have been missed while the connection was lost."""
        if cache := self.caches.get(stream):
            cache.catch_up_soon()

    async def subscribe(
        self,
        stream: str,
        position: Position | None,
        wake: Callable[[], None],
        encode: Encoder = protocol.message,
    ) -> Subscription:
        """Follow a stream from a position, or from now.

        Args:
            stream: its name.
            position: of the last message that the subscriber has.
            wake: called when there is something new.
            encode: makes what subscribers get of a message; the same for all of a stream.

        Raises:
            TimeoutError, OSError, redis.RedisError: the broker does not answer.
        """
        cache = self.caches.get(stream)
        if not cache:
            cache = self.caches[stream] = StreamCache(stream, self.broker, self.forget, encode)
        subscription = Subscription(cache, wake)
        cache.subscriptions.add(subscription)
        try:
            await cache.load(position)
        except BaseException:
            await subscription.leave()
            raise
        subscription.begin(position)
        return subscription

    async def forget(self, cache: StreamCache) -> None:
        """Drop a cache without subscribers, and its subscription at the broker."""
        if self.caches.get(cache.name) is cache:
            del self.caches[cache.name]
            await self.broker.unsubscribe(cache.name)

    async def compare(self) -> None:
        """Find lost messages that no later message reveals, and extend the expiry of streams."""
        while True:
            await asyncio.sleep(COMPARE_EVERY)
            caches = [cache for cache in self.caches.values() if cache.started]
            if caches:
                with suppress(OSError, RedisError):  # StreamBroker.run logs it
                    ends = await self.broker.ends(cache.name for cache in caches)
                    for cache, end in zip(caches, ends, strict=True):
                        if end != cache.end:
                            cache.catch_up_soon()


hub = EventLoopLocal(Hub)
