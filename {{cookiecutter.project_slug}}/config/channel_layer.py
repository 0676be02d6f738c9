"""The channel layer, which carries the groups of Channels. Streams do not use it."""

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

CONNECT_TIMEOUT = 2  # seconds


class ChannelLayer(RedisPubSubChannelLayer):
    """A channel layer in Redis that survives a restart of Redis.

    Not the core layer: it drops messages above its capacity, and closes all sockets when Redis
    restarts. https://github.com/django/channels_redis/issues/181

    Args:
        url: of Redis.
        prefix: of all channels and groups.
    """

    def __init__(self, url: str, prefix: str) -> None:
        # A connection pool lacks the retries of redis-py's client, and would fail once per
        # connection after a restart of Redis.
        retry = Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), 3)
        host = {"address": url, "retry": retry, "socket_connect_timeout": CONNECT_TIMEOUT}
        super().__init__(hosts=[host], prefix=prefix)
