"""Where streams are kept, and how a message gets from one process to the others.

In Redis, or without one in the memory of the only process. Both brokers have the same methods.
"""

from typing import NamedTuple

from config import contract


class Position(NamedTuple):
    """A place in a stream: after the message with this number, in this epoch.

    The numbers of an epoch are consecutive, so that a gap is seen. A stream whose past was lost
    begins anew, in another epoch. As text, "1763981234567-42".
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read what `str` made. Raises ValueError if it did not."""
        epoch, _, seq = text.partition("-")
        position = cls(int(epoch), int(seq))
        if not all(0 <= number < 2**63 for number in position):
            raise ValueError(f"not a position: {text}")
        return position


class Excerpt(NamedTuple):
    """The end of a stream: its last messages, each as JSON, and the position of the last one."""

    end: Position
    messages: list[str]

    @property
    def start(self) -> Position:
        """The position before the first of these messages."""
        return self.end._replace(seq=self.end.seq - len(self.messages))


if contract.REDIS_URL:
    from realtime.brokers.redis import RedisBroker as Broker
    from realtime.brokers.redis import append, end, keep
else:
    from realtime.brokers.memory import MemoryBroker as Broker
    from realtime.brokers.memory import append, end, keep

__all__ = ["Broker", "Excerpt", "Position", "append", "end", "keep"]
