"""Connection quotas in Redis: for each user a hash of the connections in each process.

A sorted set has the processes, by the time at which their counts expire.
"""

from collections.abc import Mapping

from realtime import conf
from realtime.brokers.base import QuotaReply
from realtime.brokers.redis.connection import RedisConnection


class RedisQuotas:
    """Implements QuotaBroker."""

    def __init__(self, connection: RedisConnection) -> None:
        self.connection = connection

    async def sync(
        self, process: str, counts: Mapping[str, tuple[int, int]], limit: int, expiry: float
    ) -> QuotaReply:
        key = self.connection.key
        keys = [key("processes"), *(key("connections", user) for user in counts)]
        kept = 2 * conf.settings().MAX_AGE  # longer than any socket that was counted is open
        numbers = [number for pair in counts.values() for number in pair]
        # Not sent twice: a grant whose answer was lost would count until the process ends.
        forgotten, granted = await self.connection.run_script(
            "quotas", keys, [process, expiry, limit, int(kept), *numbers]
        )
        return QuotaReply(bool(forgotten), granted)
