"""Redis for code without an event loop."""

import time
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff

from realtime.brokers.base import Position
from realtime.brokers.redis.connection import (
    OPTIONS,
    RETRY_FOR,
    SCRIPTS,
    UNREACHABLE,
    key_name,
    retry_delay,
)
from realtime.brokers.redis.streams import append_arguments, ends_arguments


class RedisBlockingBroker:
    """Implements BlockingBroker, with connections that all threads share.

    Args:
        url: of Redis.
        prefix: of all keys and channels.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        retry = redis.retry.Retry(NoBackoff(), 0)
        pool = redis.BlockingConnectionPool.from_url(url, **OPTIONS, retry=retry)
        self.redis: redis.Redis = redis.Redis.from_pool(pool)
        self.scripts = {
            name: self.redis.register_script(SCRIPTS[name]) for name in ("append", "ends")
        }

    def key(self, kind: str, name: str) -> str:
        """Return the name of a key."""
        return key_name(self.prefix, kind, name)

    def append(self, stream: str, message: str, key: str) -> Position:
        keys = [self.key("stream", stream), self.key("published", key)]
        deadline = time.monotonic() + RETRY_FOR
        while True:
            try:
                answer: Any = self.scripts["append"](keys, append_arguments(message))
                return Position.parse(answer)
            except UNREACHABLE:
                if time.monotonic() > deadline:
                    raise
                time.sleep(retry_delay())

    def end(self, stream: str) -> Position:
        answer: Any = self.scripts["ends"]([self.key("stream", stream)], ends_arguments())
        (position,) = answer
        return Position.parse(position)

    def put_ticket(self, ticket_id: str, value: str, seconds: float) -> None:
        self.redis.set(self.key("ticket", ticket_id), value, px=int(seconds * 1000))


# One pool for the whole process
redis_blocking_broker = cache(RedisBlockingBroker)
