"""Streams in memory, for one process without Redis: what ends with it is lost."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from weakref import WeakSet

from config import contract
from realtime.brokers import Excerpt, Position

lock = threading.RLock()


@dataclass
class Stream:
    """One stream."""

    epoch: int = field(default_factory=lambda: int(time.time() * 1000))
    seq: int = 0
    messages: deque[str] = field(default_factory=lambda: deque(maxlen=contract.HISTORY_LENGTH))
    keys: dict[str, Position] = field(default_factory=dict)
    used_at: float = field(default_factory=time.monotonic)

    @property
    def end(self) -> Position:
        """The position of the last message."""
        return Position(self.epoch, self.seq)


streams: dict[str, Stream] = {}
members: dict[str, dict[str, float]] = defaultdict(dict)
values: dict[str, tuple[float, str]] = {}
brokers: WeakSet["MemoryBroker"] = WeakSet()


def opened(name: str) -> Stream:
    """Return a stream, a new one unless it was used within HISTORY_SECONDS. Asks for the lock."""
    stream, now = streams.get(name), time.monotonic()
    if not stream or now - stream.used_at > contract.HISTORY_SECONDS:
        stream = streams[name] = Stream()
    stream.used_at = now
    return stream


class MemoryBroker:
    """What one event loop has to do with the streams; see RedisBroker for the meaning of it all."""

    def __init__(
        self,
        on_message: Callable[[str, Position, str], None],
        on_subscribed: Callable[[str], None],
    ) -> None:
        self.on_message = on_message
        self.on_subscribed = on_subscribed
        self.names: set[str] = set()
        self.loop = asyncio.get_running_loop()
        brokers.add(self)

    async def append(self, stream: str, message: str, key: str) -> Position:
        return append(stream, message, key)

    async def read(self, stream: str, after: Position | None) -> Excerpt:
        with lock:
            kept = opened(stream)
            missed = kept.seq - after.seq if after and after.epoch == kept.epoch else 0
            return Excerpt(kept.end, list(kept.messages)[-missed:] if missed > 0 else [])

    async def ends(self, names: Iterable[str]) -> list[Position]:
        with lock:
            return [opened(name).end for name in names]

    async def here(
        self, stream: str, staying: list[str], leaving: list[str], seconds: float, grace: float
    ) -> list[str]:
        now = time.monotonic()
        known = members[stream]
        known.update(dict.fromkeys(staying, now + seconds))
        known.update({name: now + grace for name in leaving if name in known})
        for name in [name for name, until in known.items() if until <= now]:
            del known[name]
        return list(known)

    async def seats(
        self, process: str, sockets: dict[str, tuple[int, int]], expiry: float
    ) -> tuple[bool, list[int]]:
        most = contract.WS_PER_USER
        return False, [max(0, min(wants, most - has)) for has, wants in sockets.values()]

    async def take(self, key: str) -> str | None:
        with lock:
            until, value = values.pop(key, (0, None))
            return value if until > time.monotonic() else None

    async def listen(self, stream: str) -> None:
        self.names.add(stream)
        self.on_subscribed(stream)

    async def unlisten(self, stream: str) -> None:
        self.names.discard(stream)

    async def run(self) -> None:
        """Nothing needs to be fetched."""

    def tell(self, stream: str, position: Position, message: str) -> None:
        """Pass on a message, from any thread."""
        if stream in self.names and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.on_message, stream, position, message)


def append(stream: str, message: str, key: str) -> Position:
    """Do what MemoryBroker.append does, for callers without a loop."""
    with lock:
        kept = opened(stream)
        if key in kept.keys:
            return kept.keys[key]
        kept.seq += 1
        kept.messages.append(message)
        kept.keys[key] = kept.end
        if len(kept.keys) > contract.HISTORY_LENGTH:
            del kept.keys[next(iter(kept.keys))]
        for broker in list(brokers):
            broker.tell(stream, kept.end, message)
        return kept.end


def end(stream: str) -> Position:
    """Return the end of a stream."""
    with lock:
        return opened(stream).end


def keep(key: str, value: str, seconds: int) -> None:
    """Keep a value until somebody takes it, for so many seconds at most."""
    now = time.monotonic()
    with lock:
        for expired in [name for name, (until, _) in values.items() if until <= now]:
            del values[expired]
        values[key] = now + seconds, value
