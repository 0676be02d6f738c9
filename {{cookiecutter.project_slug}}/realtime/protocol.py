"""The wire protocol: every message and close code that server and client exchange.

Messages are JSON objects with a `type`. client.js has the same tables; a test compares them.
"""

import json
from collections.abc import Sequence
from enum import IntEnum, StrEnum

from realtime.brokers.base import Position


class CloseCode(IntEnum):
    """The close codes of the application.

    All are in 4000-4999, the only range that every server can send and every browser shows. 44xx
    mirrors HTTP's 4xx: the client must not reconnect, except after 4408 and 4429.
    https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
    """

    RECONNECT = 4000
    BAD_MESSAGE = 4400
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    TOO_SLOW = 4408
    LIMIT_EXCEEDED = 4429
    SERVER_ERROR = 4500


# The reasons that come with LIMIT_EXCEEDED
MESSAGE_RATE_REASON = "message rate"
CONNECTION_QUOTA_REASON = "connections per user"


class MessageType(StrEnum):
    """The `type` of a message."""

    # From the client
    PING = "ping"
    # From the server
    PONG = "pong"
    RECONNECT = "reconnect"
    SUBSCRIBED = "subscribed"
    MESSAGE = "message"
    PRESENCE = "presence"


def encode(content: dict[str, object]) -> str:
    """Return a message as compact JSON."""
    return json.dumps(content, separators=(",", ":"))


PONG = encode({"type": MessageType.PONG})


def reconnect(after_ms: int) -> str:
    """Return the message that asks for a reconnect after a delay. CloseCode.RECONNECT follows."""
    return encode({"type": MessageType.RECONNECT, "after_ms": after_ms})


def subscribed(stream: str, position: Position, *, recovered: bool) -> str:
    """Return the message that confirms a subscription.

    Args:
        stream: the name of the stream.
        position: the stream position after which messages are sent.
        recovered: whether that is the position that the client sent. If not, messages may be
            missing, and the client has to load the current state from where it is stored.
    """
    content = {"type": MessageType.SUBSCRIBED, "stream": stream, **position._asdict()}
    return encode(content | {"recovered": recovered})


def message(stream: str, position: Position, data: str) -> str:
    """Return a message of a stream, with its position; `data` is JSON already."""
    head = encode({"type": MessageType.MESSAGE, "stream": stream, **position._asdict()})
    return f'{head[:-1]},"data":{data}}}'


def presence(stream: str, members: Sequence[str]) -> str:
    """Return the message with the names of all members of a stream."""
    return encode({"type": MessageType.PRESENCE, "stream": stream, "members": list(members)})
