"""How a process leaves: what is agreed with the proxy, and with other processes."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from config import contract

RETRY_AFTER = b"5"  # seconds
# The proxy keeps a quiet connection for 2 s (nginx.conf.template). When that has passed since the
# last answer that left it open, no request can meet a connection that is just closing.
SETTLE_SECONDS = 2.5
# Between two processes that end because of MAX_REQUESTS: what the new one needs to start.
RECYCLE_SECONDS = 20


async def first_in_line() -> bool:
    """Whether this process may end now. The others ask again, and so does it without an answer."""
    if not contract.REDIS_URL:
        return True
    try:
        async with Redis.from_url(contract.REDIS_URL) as redis:
            return bool(await redis.set("recycle", "", nx=True, ex=RECYCLE_SECONDS))
    except (OSError, RedisError):
        return False
