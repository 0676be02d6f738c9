"""Publishing, with recovery: a stream keeps its last messages for clients that reconnect.

    publish("room.lobby", {"text": "hello"})

A consumer that is subscribed to the stream (realtime/consumers.py) sends the message to its client.
A reconnecting client gives the position of its last message. It receives exactly the messages that
it missed, or is told that they are no longer kept (HISTORY_LENGTH, HISTORY_SECONDS).
"""

import asyncio
import json
import logging
import re
from functools import partial
from uuid import uuid4

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from redis.exceptions import RedisError

from realtime.brokers import blocking_broker, broker
from realtime.brokers.base import Position

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


def encode(stream: str, data: object) -> str:
    """Return data as JSON, once for all receivers.

    Raises:
        ValueError: the stream's name has characters other than letters, digits and `_.-`, or a
            number is not finite, which JSON cannot express.
        TypeError: the data are neither JSON types nor dates, times, decimals or UUIDs.
    """
    if not NAME.fullmatch(stream):
        raise ValueError(
            f"invalid stream name {stream!r}: use 1 to 200 letters, digits and the characters _.-"
        )
    return json.dumps(
        data, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def publish(stream: str, data: object, key: str | None = None) -> None:
    """Send data to all subscribers of a stream; inside a transaction, after the commit.

    Args:
        stream: its name, of letters, digits and `_.-`.
        data: JSON types, dates, times, decimals and UUIDs.
        key: makes retries safe: data with the same key are sent once.

    Raises:
        ValueError, TypeError: the name or the data are invalid.
        redis.RedisError, OSError: Redis did not answer for seconds. The data may have been sent all
            the same; publish them again with the same key.
    """
    message = encode(stream, data)
    append = partial(blocking_broker().append, stream, message, key or uuid4().hex)
    transaction.on_commit(append)


async def apublish(stream: str, data: object, key: str | None = None) -> Position:
    """Publish from async code, where there are no transactions. Arguments and errors: `publish`.

    Returns:
        the position of the message. It is kept by then, for clients that reconnect.
    """
    message, key = encode(stream, data), key or uuid4().hex
    if broker.exists():
        return await broker().streams.append(stream, message, key)
    # Without sockets, the loop has no connections to the broker, and may end soon.
    return await asyncio.to_thread(blocking_broker().append, stream, message, key)


def stream_position(stream: str) -> str:
    """Return the end of a stream, for a page to pass to its socket. Call it before the query.

    Messages that are published after this are sent to the socket, whether or not the page has them
    already. Empty if Redis does not answer: the socket is then told to load the history.
    """
    try:
        return f"{stream}:{blocking_broker().end(stream)}"
    except (OSError, RedisError) as error:
        logger.warning("no position of stream %s: %r", stream, error)
        return ""
