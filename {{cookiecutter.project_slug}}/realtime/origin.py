"""Origin checks for WebSocket handshakes."""

from typing import cast
from urllib.parse import urlsplit

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
    WebSocketScope,
)
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime import conf


class OriginMiddleware:
    """ASGI middleware that refuses handshakes from pages of other sites, with 403.

    Browsers send this site's cookies with such a handshake, and no CSRF token:
    https://owasp.org/www-community/attacks/csrf. A page belongs to this site if its origin is the
    requested host, which must be one of ALLOWED_HOSTS, and if it came over HTTPS when the socket
    does; ALLOWED_ORIGINS names others. Non-browser clients send no origin and are refused, too:
    they need a ticket (realtime/tickets.py). Channels' own validator accepts any port of the
    allowed hosts, and any origin with ALLOWED_HOSTS=*.
    """

    def __init__(self, app: ASGI3Application) -> None:
        self.app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        handshake = cast(WebSocketScope, scope)
        headers = dict(handshake["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        host = headers.get(b"host", b"").decode("latin-1").lower()
        secure = handshake["scheme"] != "wss" or origin.startswith("https:")
        same_site = secure and is_allowed_host(origin, host)
        allowed = same_site or origin in conf.settings().ALLOWED_ORIGINS
        app = self.app if allowed else WebsocketDenier.as_asgi()
        await app(scope, receive, send)


def is_allowed_host(origin: str, host: str) -> bool:
    """Return whether an Origin header names the requested host, and that is an allowed one."""
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]  # as in HttpRequest.get_host()
    try:
        domain, _ = split_domain_port(host)
        return urlsplit(origin).netloc == host and validate_host(domain, allowed)
    except ValueError:  # an invalid address, such as http://[::1
        return False
