"""Tickets, with which a client that is no browser opens a socket.

It has no Origin to show, and realtime/origin.py would refuse it. Who has logged in can have a
ticket, and sends it along with the handshake:

    Authorization: Ticket <ticket>

It is good for one socket, for WS_TICKET_SECONDS, on any replica. A page of another site cannot send
it: browsers let nobody set that header. It is never a part of the URL, which is logged.
"""

import asyncio
import json
import logging
from hashlib import sha256, shake_256
from secrets import token_urlsafe

from channels.auth import get_user
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from redis.exceptions import RedisError

from config import contract
from realtime.brokers import keep
from realtime.connections import refuse
from realtime.hub import hub
from realtime.leaving import RETRY_AFTER
from realtime.users import session_of, watch

logger = logging.getLogger(__name__)

SCHEME = b"ticket "


def issue(user, session: SessionBase | None = None) -> str:
    """Return a new ticket.

    Args:
        user: who opens a socket with it. That is closed when the user is deactivated or deleted, or
            gets another password.
        session: of the request, if the user has logged in there. The socket is closed when it ends,
            too, and the ticket is worth nothing after that.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    ticket = token_urlsafe(32)
    if session and session.session_key:
        holder = {"session": session.session_key}
    else:
        holder = {"login": login(user)}
    kept = masked(ticket, json.dumps(holder).encode()).hex()
    keep(name(ticket), kept, contract.WS_TICKET_SECONDS)
    return ticket


async def aissue(user, session: SessionBase | None = None) -> str:
    """Do what issue does, from async code."""
    return await asyncio.to_thread(issue, user, session)


def login(user) -> dict[str, str]:
    """Return what Django writes into a session when a user logs in."""
    # Some backends have a say in who may log in, and no more.
    backends = settings.AUTHENTICATION_BACKENDS
    known = (path for path in backends if hasattr(load_backend(path), "get_user"))
    return {
        SESSION_KEY: user._meta.pk.value_to_string(user),
        BACKEND_SESSION_KEY: getattr(user, "backend", None) or next(known),
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }


def name(ticket: str) -> str:
    """Return what a ticket is kept under. Who can read that has no ticket yet."""
    return f"ticket:{sha256(ticket.encode()).hexdigest()}"


def masked(ticket: str, content: bytes) -> bytes:
    """Hide what is kept, such as a session's key, from all who do not have the ticket; or show it.

    A ticket is random and used once: this is a one-time pad.
    """
    pad = shake_256(ticket.encode()).digest(len(content))
    return bytes(a ^ b for a, b in zip(content, pad, strict=True))


async def redeem(ticket: str) -> SessionBase | None:
    """Return the session that a ticket stands for, and forget the ticket; None if it is not valid.

    Raises:
        redis.RedisError, OSError: Redis does not answer. The ticket may be lost.
    """
    kept = bytes.fromhex(await hub().broker.take(name(ticket)) or "")
    match json.loads(masked(ticket, kept) or "null"):
        case {"session": key}:
            return session_of(key)
        case {"login": fields}:
            session = session_of(None)  # one that is never saved
            session.update(fields)
            return session


class Tickets:
    """ASGI middleware that lets in who brings a ticket; neither Origin nor cookies count then.

    A ticket that is unknown, used or expired is refused with 403, as is one whose user may not log
    in any more; without an answer from Redis it is 503.

    Args:
        application: the ASGI application for who has a ticket, with "user" and "session" in scope.
        others: the ASGI application for sockets that are opened without one.
    """

    def __init__(self, application, others) -> None:
        self.application = application
        self.others = others

    async def __call__(self, scope, receive, send) -> None:
        watch()  # from before a session is read, so that no log-out after that is missed
        if (ticket := brought(scope["headers"])) is None:
            await self.others(scope, receive, send)
            return
        try:
            session = await redeem(ticket)
        except (OSError, RedisError) as error:
            logger.warning("a ticket cannot be looked at: %r", error)
            await refuse(scope, receive, send)
            return
        scope = scope | {"cookies": {}, "session": session}
        scope["user"] = await get_user(scope) if session else None
        valid = session and scope["user"].is_authenticated
        await (self.application if valid else WebsocketDenier())(scope, receive, send)


def brought(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return the ticket in a handshake's headers. Other kinds of Authorization are none."""
    for key, value in headers:
        if key == b"authorization" and value[: len(SCHEME)].lower() == SCHEME:
            return value[len(SCHEME) :].strip().decode("latin-1")
    return None


@never_cache
@require_POST
def ticket(request: HttpRequest) -> JsonResponse:
    """Give a ticket to who has logged in. Others get JSON, too, for no person reads it."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": "Log in first."}, status=401)
    try:
        issued = issue(request.user, request.session)
    except (OSError, RedisError) as error:
        logger.warning("no ticket: %r", error)
        headers = {"Retry-After": RETRY_AFTER.decode()}
        return JsonResponse({"error": "Come back later."}, status=503, headers=headers)
    return JsonResponse({"ticket": issued, "seconds": contract.WS_TICKET_SECONDS})
