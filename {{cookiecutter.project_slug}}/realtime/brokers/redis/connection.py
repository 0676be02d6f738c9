"""Connections to Redis: timeouts, retries, scripts, and the names of keys."""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff

# In seconds
TIMEOUT = 2  # of a request
RETRY_FOR = 6  # until retrying stops and the error is raised

UNREACHABLE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

# Without redis-py's retries: they are below, only for requests that may be sent twice.
OPTIONS: Final[dict[str, Any]] = {
    "decode_responses": True,
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
    "max_connections": 16,
    "timeout": TIMEOUT,
}

LUA = Path(__file__).parent / "lua"
SCRIPTS = {
    name: (LUA / "open.lua").read_text() + (LUA / f"{name}.lua").read_text()
    for name in ("append", "read", "ends", "presence", "quotas")
}


def key_name(prefix: str, kind: str, name: str = "") -> str:
    """Return the name of a key or channel, such as `shop:stream:orders.7`."""
    return f"{prefix}:{kind}:{name}" if name else f"{prefix}:{kind}"


def retry_delay() -> float:
    """Return seconds until the next attempt; random, so that processes do not retry together."""
    return random.uniform(0.05, 0.5)  # noqa: S311


class RedisConnection:
    """A pool of connections for one event loop, shared by the interfaces of a broker.

    Args:
        url: of Redis.
        prefix: of all keys and channels.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        pool = aioredis.BlockingConnectionPool.from_url(
            url, **OPTIONS, retry=aioredis.retry.Retry(NoBackoff(), 0)
        )
        self.redis: aioredis.Redis = aioredis.Redis.from_pool(pool)
        self.scripts = {name: self.redis.register_script(text) for name, text in SCRIPTS.items()}

    def key(self, kind: str, name: str = "") -> str:
        """Return the name of a key or channel."""
        return key_name(self.prefix, kind, name)

    async def run_script(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script once. Raises redis.RedisError or OSError if Redis does not answer."""
        return await self.scripts[name](keys, arguments)

    async def retry_script(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script that may run twice, until Redis answers or RETRY_FOR ends.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        deadline = time.monotonic() + RETRY_FOR
        while True:
            try:
                return await self.run_script(name, keys, arguments)
            except UNREACHABLE:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(retry_delay())
