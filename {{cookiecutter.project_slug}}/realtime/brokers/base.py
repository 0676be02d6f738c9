"""The interfaces of a broker: it keeps streams, and carries messages between processes.

Streams, presence, connection quotas and tickets are interfaces of their own, over one connection.
realtime/brokers/memory.py serves a single process, realtime/brokers/redis/ any number of them.

Every coroutine may raise OSError or redis.RedisError if the broker does not answer in time; the
operation may have been carried out all the same.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """A stream position: the epoch and the sequence number of the last message before it.

    The sequence numbers of an epoch are consecutive, so that a gap can be detected. A stream whose
    history was lost starts a new epoch. As text: "1763981234567-42".
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Parse a stream position. Raises ValueError if the text is invalid."""
        epoch, _, seq = text.partition("-")
        position = cls(int(epoch), int(seq))
        if not all(0 <= number < 2**63 for number in position):
            raise ValueError(f"invalid stream position: {text!r}")
        return position


class HistoryPage(NamedTuple):
    """The last messages of a stream, as JSON, and the position of the last one."""

    end: Position
    messages: list[str]

    @property
    def start(self) -> Position:
        """The position before the first of these messages."""
        return self.end._replace(seq=self.end.seq - len(self.messages))


class QuotaReply(NamedTuple):
    """The broker's answer to the connection counts of a process."""

    forgotten: bool
    """Whether the broker had no counts of the process, which then has to report all its users."""
    granted: list[int]
    """For each user, how many of the requested connections may open."""


OnMessage = Callable[[str, Position, str], None]
"""Called with the stream, position and JSON of each published message. Some may be lost."""

OnGap = Callable[[str], None]
"""Called with a stream of which messages may have been lost, as after a lost connection."""


class StreamBroker(Protocol):
    """Streams with a history, for one event loop. The hub sets the two callbacks."""

    on_message: OnMessage
    on_gap: OnGap

    async def append(self, stream: str, message: str, key: str) -> Position:
        """Append a message and publish it.

        Args:
            stream: its name.
            message: JSON.
            key: identifies the message. A second one with the same key is not appended.

        Returns:
            the position of the message.
        """

    async def read(self, stream: str, after: Position | None) -> HistoryPage:
        """Return the messages after a position that are still kept; extend the stream's expiry."""

    async def ends(self, streams: Iterable[str]) -> list[Position]:
        """Return the end of each stream, and extend their expiry."""

    async def subscribe(self, stream: str) -> None:
        """Receive the messages that are published from now on. Returns when that is confirmed.

        Raises:
            TimeoutError: it is not confirmed in time.
        """

    async def unsubscribe(self, stream: str) -> None:
        """Stop receiving a stream."""

    async def run(self) -> None:
        """Call `on_message` and `on_gap` until cancelled."""


class PresenceBroker(Protocol):
    """Members of streams, in all processes."""

    async def update(
        self, stream: str, present: list[str], leaving: list[str], expiry: float, grace: float
    ) -> list[str]:
        """Report the members of this process, and return those of all processes.

        Args:
            stream: its name.
            present: members; each expires unless it is reported again.
            leaving: members that have left.
            expiry: seconds until a present member expires.
            grace: seconds until a leaving one does: it may be about to reconnect.
        """


class QuotaBroker(Protocol):
    """Connections per user, in all processes."""

    async def sync(
        self, process: str, counts: Mapping[str, tuple[int, int]], limit: int, expiry: float
    ) -> QuotaReply:
        """Report the connections of some users in this process, and request more for them.

        Args:
            process: identifies this process.
            counts: by user, how many connections are open here, and how many more are requested.
            limit: of a user's connections in all processes.
            expiry: seconds until the counts of a process that reports no more are dropped.
        """


class TicketBroker(Protocol):
    """Values that can be read once."""

    async def pop(self, ticket_id: str) -> str | None:
        """Return the value of a ticket and delete it; None if it is unknown or expired."""


class Broker(Protocol):
    """All interfaces, for one event loop."""

    @property
    def streams(self) -> StreamBroker: ...

    @property
    def presence(self) -> PresenceBroker: ...

    @property
    def quotas(self) -> QuotaBroker: ...

    @property
    def tickets(self) -> TicketBroker: ...


class BlockingBroker(Protocol):
    """The operations for code without an event loop. They can be called from any thread."""

    def append(self, stream: str, message: str, key: str) -> Position:
        """Do the same as StreamBroker.append."""

    def end(self, stream: str) -> Position:
        """Return the end of a stream."""

    def put_ticket(self, ticket_id: str, value: str, seconds: float) -> None:
        """Keep a value until it is read, or until it expires."""
