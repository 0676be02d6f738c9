"""A broker in the memory of a single process. Its contents are lost when the process ends."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from realtime import conf
from realtime.brokers.base import HistoryPage, OnGap, OnMessage, Position, QuotaReply

lock = threading.RLock()


@dataclass
class Stream:
    """A stream."""

    epoch: int = field(default_factory=lambda: int(time.time() * 1000))
    seq: int = 0
    messages: deque[str] = field(
        default_factory=lambda: deque(maxlen=conf.settings().HISTORY_LENGTH)
    )
    keys: dict[str, Position] = field(default_factory=dict)
    used_at: float = field(default_factory=time.monotonic)

    @property
    def end(self) -> Position:
        """The position of the last message."""
        return Position(self.epoch, self.seq)


streams: dict[str, Stream] = {}
members: defaultdict[str, dict[str, float]] = defaultdict(dict)
tickets: dict[str, tuple[float, str]] = {}
subscribers: WeakSet["MemoryStreams"] = WeakSet()


def get_or_create(name: str) -> Stream:
    """Return a stream; a new one unless it was used within HISTORY_SECONDS. Needs the lock."""
    stream, now = streams.get(name), time.monotonic()
    if not stream or now - stream.used_at > conf.settings().HISTORY_SECONDS:
        stream = streams[name] = Stream()
    stream.used_at = now
    return stream


class MemoryBroker:
    """The broker of one event loop."""

    def __init__(self) -> None:
        self.streams = MemoryStreams()
        self.presence = MemoryPresence()
        self.quotas = MemoryQuotas()
        self.tickets = MemoryTickets()


class MemoryStreams:
    """Implements StreamBroker."""

    on_message: OnMessage
    on_gap: OnGap

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.loop = asyncio.get_running_loop()
        subscribers.add(self)

    async def append(self, stream: str, message: str, key: str) -> Position:
        return MemoryBlockingBroker().append(stream, message, key)

    async def read(self, stream: str, after: Position | None) -> HistoryPage:
        with lock:
            kept = get_or_create(stream)
            missed = kept.seq - after.seq if after and after.epoch == kept.epoch else 0
            return HistoryPage(kept.end, list(kept.messages)[-missed:] if missed > 0 else [])

    async def ends(self, streams: Iterable[str]) -> list[Position]:
        with lock:
            return [get_or_create(name).end for name in streams]

    async def subscribe(self, stream: str) -> None:
        self.names.add(stream)

    async def unsubscribe(self, stream: str) -> None:
        self.names.discard(stream)

    async def run(self) -> None:
        """Return at once: `append` delivers the messages."""

    def deliver(self, stream: str, position: Position, message: str) -> None:
        """Pass a message to this loop, from any thread."""
        if stream in self.names and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.on_message, stream, position, message)


class MemoryPresence:
    """Implements PresenceBroker."""

    async def update(
        self, stream: str, present: list[str], leaving: list[str], expiry: float, grace: float
    ) -> list[str]:
        now = time.monotonic()
        known = members[stream]
        known.update(dict.fromkeys(present, now + expiry))
        known.update({name: now + grace for name in leaving if name in known})
        for name in [name for name, expires_at in known.items() if expires_at <= now]:
            del known[name]
        return list(known)


class MemoryQuotas:
    """Implements QuotaBroker."""

    async def sync(
        self, process: str, counts: Mapping[str, tuple[int, int]], limit: int, expiry: float
    ) -> QuotaReply:
        granted = [max(0, min(wanted, limit - opened)) for opened, wanted in counts.values()]
        return QuotaReply(forgotten=False, granted=granted)


class MemoryTickets:
    """Implements TicketBroker."""

    async def pop(self, ticket_id: str) -> str | None:
        with lock:
            expires_at, value = tickets.pop(ticket_id, (0, ""))
            return value if expires_at > time.monotonic() else None


class MemoryBlockingBroker:
    """Implements BlockingBroker."""

    def append(self, stream: str, message: str, key: str) -> Position:
        with lock:
            kept = get_or_create(stream)
            if key in kept.keys:
                return kept.keys[key]
            kept.seq += 1
            kept.messages.append(message)
            kept.keys[key] = kept.end
            if len(kept.keys) > conf.settings().HISTORY_LENGTH:
                del kept.keys[next(iter(kept.keys))]
            for subscriber in list(subscribers):
                subscriber.deliver(stream, kept.end, message)
            return kept.end

    def end(self, stream: str) -> Position:
        with lock:
            return get_or_create(stream).end

    def put_ticket(self, ticket_id: str, value: str, seconds: float) -> None:
        now = time.monotonic()
        with lock:
            for expired in [name for name, (until, _) in tickets.items() if until <= now]:
                del tickets[expired]
            tickets[ticket_id] = now + seconds, value
