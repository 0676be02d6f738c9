"""Presence in Redis: for each stream a sorted set of members, by the time at which they expire."""

from typing import cast

from realtime.brokers.redis.connection import RedisConnection


class RedisPresence:
    """Implements PresenceBroker."""

    def __init__(self, connection: RedisConnection) -> None:
        self.connection = connection

    async def update(
        self, stream: str, present: list[str], leaving: list[str], expiry: float, grace: float
    ) -> list[str]:
        keys = [self.connection.key("presence", stream)]
        arguments = [expiry, grace, len(present), *present, *leaving]
        members = await self.connection.retry_script("presence", keys, arguments)
        return cast(list[str], members)
