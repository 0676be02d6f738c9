"""What /readyz checks: the services that no page can do without."""

from collections.abc import Awaitable, Callable

from channels.db import database_sync_to_async
from django.db import connection
from redis.asyncio import Redis

from config import env


@database_sync_to_async
def check_database() -> None:
    """Run the smallest query. Raises django.db.Error if it fails."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def check_redis() -> None:
    """Ping Redis. Raises redis.RedisError or OSError if it does not answer."""
    async with Redis.from_url(env.REDIS_URL) as redis:
        await redis.ping()


READINESS_CHECKS: dict[str, Callable[[], Awaitable[None]]] = {"database": check_database}
if env.REDIS_URL:
    READINESS_CHECKS["redis"] = check_redis
