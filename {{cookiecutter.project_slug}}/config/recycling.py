"""Turns of the processes that MAX_REQUESTS replaces: all at once would interrupt the site."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from config import env

# Seconds from one replaced process to the next: the time that a new one needs to start.
RECYCLE_SECONDS = 20


async def may_recycle() -> bool:
    """Return whether this process may end now. If not, or if Redis does not answer, ask again."""
    if not env.REDIS_URL:
        return True
    try:
        async with Redis.from_url(env.REDIS_URL) as redis:
            key = f"{env.REDIS_PREFIX}:recycle"
            return bool(await redis.set(key, "", nx=True, ex=RECYCLE_SECONDS))
    except (OSError, RedisError):
        return False
