"""Tickets: authentication of WebSocket handshakes by non-browser clients.

Such a client sends no Origin, so realtime/origin.py would refuse it. An authenticated user can get
a ticket, and sends it with the handshake:

    Authorization: Ticket <ticket>

It is valid for one socket, for TICKET_SECONDS, on any replica. A page of another site cannot send
it, because browsers do not let pages set that header. It is not part of the URL, which is logged.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256, shake_256
from secrets import token_urlsafe
from typing import cast

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
    WebSocketScope,
)
from channels.auth import get_user
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends.base import SessionBase
from redis.exceptions import RedisError

from realtime import conf
from realtime.brokers import blocking_broker, broker
from realtime.revocation import load_session, registry
from realtime.scopes import UserScope

logger = logging.getLogger(__name__)

SCHEME = b"ticket "
RETRY_AFTER = 5  # seconds, if Redis does not answer


def issue(user: AbstractBaseUser, session: SessionBase | None = None) -> str:
    """Return a new ticket.

    Args:
        user: the account that it authenticates. The socket is closed when the account is
            deactivated or deleted, or its password is changed.
        session: of the request, if the user is logged in there. The socket is closed when it ends,
            too, and the ticket is invalid from then on.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    ticket = token_urlsafe(32)
    content: dict[str, object]
    if session and session.session_key:
        content = {"session": session.session_key}
    else:
        content = {"login": login_fields(user)}
    value = xor_pad(ticket, json.dumps(content).encode()).hex()
    blocking_broker().put_ticket(ticket_id(ticket), value, conf.settings().TICKET_SECONDS)
    return ticket


async def aissue(user: AbstractBaseUser, session: SessionBase | None = None) -> str:
    """Return a new ticket, from async code. Arguments and errors: `issue`."""
    return await asyncio.to_thread(issue, user, session)


def login_fields(user: AbstractBaseUser) -> dict[str, str]:
    """Return what Django stores in a session when a user logs in."""
    # Some backends only take part in the decision, such as django-axes'.
    paths = settings.AUTHENTICATION_BACKENDS
    complete = (path for path in paths if hasattr(load_backend(path), "get_user"))
    return {
        SESSION_KEY: user._meta.pk.value_to_string(user),
        BACKEND_SESSION_KEY: getattr(user, "backend", None) or next(complete),
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }


def ticket_id(ticket: str) -> str:
    """Return what a ticket is stored under, from which the ticket cannot be derived."""
    return sha256(ticket.encode()).hexdigest()


def xor_pad(ticket: str, content: bytes) -> bytes:
    """Encrypt or decrypt the content of a ticket, such as a session's key, with the ticket.

    A ticket is random and used once: this is a one-time pad.
    """
    pad = shake_256(ticket.encode()).digest(len(content))
    return bytes(a ^ b for a, b in zip(content, pad, strict=True))


async def redeem(ticket: str) -> SessionBase | None:
    """Return the session that a ticket stands for, and delete the ticket; None if it is invalid.

    Raises:
        redis.RedisError, OSError: Redis does not answer. The ticket may have been deleted.
    """
    value = bytes.fromhex(await broker().tickets.pop(ticket_id(ticket)) or "")
    match json.loads(xor_pad(ticket, value) or "null"):
        case {"session": key}:
            return load_session(key)
        case {"login": fields}:
            session = load_session(None)  # never saved
            session.update(fields)
            return session
    return None


class TicketMiddleware:
    """ASGI middleware that authenticates handshakes by a ticket, regardless of Origin and cookies.

    A handshake is refused with 403 if its ticket is unknown, used or expired, or if its user may
    not log in any more, and with 503 if Redis does not answer.

    Args:
        app: the ASGI application; it gets "user" and "session" in the scope.
        fallback: middleware for handshakes without a ticket, from the outside in.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        fallback: Sequence[Callable[[ASGI3Application], ASGI3Application]],
    ) -> None:
        self.app = self.fallback = app
        for middleware in reversed(fallback):
            self.fallback = middleware(self.fallback)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        registry()  # from before a session is read, so that no later log-out is missed
        handshake = cast(WebSocketScope, scope)
        if (ticket := ticket_from(handshake["headers"])) is None:
            await self.fallback(scope, receive, send)
            return
        try:
            session = await redeem(ticket)
        except (OSError, RedisError) as error:
            logger.warning("redeeming a ticket failed: %r", error)
            await service_unavailable(handshake, receive, send)
            return
        authenticated = cast(UserScope, handshake | {"cookies": {}, "session": session})
        if session:
            authenticated["user"] = await get_user(authenticated)  # type: ignore[arg-type]
        valid = session and authenticated["user"].is_authenticated
        app = self.app if valid else WebsocketDenier.as_asgi()
        await app(cast(Scope, authenticated), receive, send)


def ticket_from(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the ticket in a handshake's headers; None for other kinds of Authorization."""
    for key, value in headers:
        if key == b"authorization" and value[: len(SCHEME)].lower() == SCHEME:
            return value[len(SCHEME) :].strip().decode("latin-1")
    return None


async def service_unavailable(
    scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Refuse a handshake with 503, or 403 if the server does not support another status.

    https://asgi.readthedocs.io/en/stable/extensions.html#websocket-denial-response
    """
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1013, "reason": None})
        return
    headers = [(b"retry-after", b"%d" % RETRY_AFTER), (b"content-length", b"0")]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
