"""A broker in Redis, for any number of processes."""

from realtime.brokers.redis.connection import RedisConnection
from realtime.brokers.redis.presence import RedisPresence
from realtime.brokers.redis.quotas import RedisQuotas
from realtime.brokers.redis.streams import RedisStreams
from realtime.brokers.redis.tickets import RedisTickets


class RedisBroker:
    """The broker of one event loop.

    Args:
        url: of Redis.
        prefix: of all keys and channels.
    """

    def __init__(self, url: str, prefix: str) -> None:
        connection = RedisConnection(url, prefix)
        self.streams = RedisStreams(connection)
        self.presence = RedisPresence(connection)
        self.quotas = RedisQuotas(connection)
        self.tickets = RedisTickets(connection)
