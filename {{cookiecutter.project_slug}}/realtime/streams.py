"""Messages that are not lost: what is published in a stream can be asked for again.

    publish("room.lobby", {"text": "hello"})

A consumer that has subscribed to the stream (realtime/consumers.py) sends it to its client. A
client that comes back says where it was, and gets exactly what it missed, or is told that this is
no longer known: HISTORY_LENGTH and HISTORY_SECONDS say how much is.
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

from realtime.brokers import Position, append, end
from realtime.hub import hub

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


def encode(stream: str, data: object) -> str:
    """Return data as JSON, once for all receivers.

    Raises:
        ValueError: the stream's name has other characters than letters, digits and `_.-`, or a
            number is none in JSON, as infinity.
        TypeError: the data are none that JSON knows, nor dates, decimals or UUIDs.
    """
    if not NAME.fullmatch(stream):
        raise ValueError(f"not a name for a stream: {stream!r}")
    return json.dumps(
        data, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def publish(stream: str, data: object, key: str | None = None) -> None:
    """Send data to all who follow a stream; inside a transaction, when it is committed.

    Args:
        stream: its name, of letters, digits and `_.-`.
        data: what JSON can hold.
        key: what it is known by. It is sent only once, however often it is published with this key.

    Raises:
        ValueError, TypeError: not a name, or not JSON.
        redis.RedisError, OSError: Redis did not answer, for seconds. It may have been sent all the
            same; to publish it again with its key does no harm.
    """
    message = encode(stream, data)
    transaction.on_commit(partial(append, stream, message, key or uuid4().hex))


async def apublish(stream: str, data: object, key: str | None = None) -> Position:
    """Do what publish does, from async code, where there are no transactions.

    Returns:
        where it stands in the stream. It will be there for who comes back.
    """
    message, key = encode(stream, data), key or uuid4().hex
    if hub.exists():
        return await hub().broker.append(stream, message, key)
    # No sockets, so no connections that belong to this loop, which may soon be gone.
    return await asyncio.to_thread(append, stream, message, key)


def position(stream: str) -> str:
    """Return where a stream ends, for a page to give to its socket. Call it before the query.

    What is published after this is sent to that socket, whether or not the page shows it, too.
    Without an answer from Redis it is empty: the socket will then be told to load the past.
    """
    try:
        return f"{stream}:{end(stream)}"
    except (OSError, RedisError) as error:
        logger.warning("no position in %s: %r", stream, error)
        return ""
