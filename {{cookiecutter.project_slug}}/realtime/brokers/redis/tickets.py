"""Tickets in Redis: a key each."""

from typing import cast

from realtime.brokers.redis.connection import RedisConnection


class RedisTickets:
    """Implements TicketBroker."""

    def __init__(self, connection: RedisConnection) -> None:
        self.connection = connection

    async def pop(self, ticket_id: str) -> str | None:
        # Not sent twice: the first request may have deleted it.
        value = await self.connection.redis.getdel(self.connection.key("ticket", ticket_id))
        return cast(str | None, value)
