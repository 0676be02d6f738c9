"""The broker in use: Redis if REDIS_URL is set, else the memory of this process."""

from realtime import conf
from realtime.brokers.base import BlockingBroker, Broker
from realtime.brokers.memory import MemoryBlockingBroker, MemoryBroker
from realtime.event_loop import EventLoopLocal


def make_broker() -> Broker:
    """Return a broker for the running event loop."""
    settings = conf.settings()
    if not settings.REDIS_URL:
        return MemoryBroker()
    from realtime.brokers.redis import RedisBroker

    return RedisBroker(settings.REDIS_URL, settings.REDIS_PREFIX)


broker = EventLoopLocal(make_broker)


def blocking_broker() -> BlockingBroker:
    """Return the broker for code without an event loop."""
    settings = conf.settings()
    if not settings.REDIS_URL:
        return MemoryBlockingBroker()
    from realtime.brokers.redis.blocking import redis_blocking_broker

    return redis_blocking_broker(settings.REDIS_URL, settings.REDIS_PREFIX)
