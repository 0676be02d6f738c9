"""Whose pages may open WebSockets."""

from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from config import contract


class SameOrigin:
    """ASGI middleware that refuses sockets opened by pages of other sites, with 403.

    Browsers send the cookies of this site along with such a handshake, and no token that would tell
    it apart: https://owasp.org/www-community/attacks/csrf. A page is of this site if its origin is
    the host that it asks, by HTTPS if the socket is, and that host is ours; WS_ALLOWED_ORIGINS
    names others. What sends no origin is no browser, and is refused too: it needs a ticket
    (realtime/tickets.py). Channels' own validator would let in any port of our hosts, and everybody
    with ALLOWED_HOSTS=*.
    """

    def __init__(self, application) -> None:
        self.application = application

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        host = headers.get(b"host", b"").decode("latin-1").lower()
        secure = scope["scheme"] != "wss" or origin.startswith("https:")
        allowed = origin in contract.WS_ALLOWED_ORIGINS or (same(origin, host) and secure)
        await (self.application if allowed else WebsocketDenier())(scope, receive, send)


def same(origin: str, host: str) -> bool:
    """Whether an Origin header names the site that the Host header does, and it is ours."""
    ours = settings.ALLOWED_HOSTS
    if settings.DEBUG and not ours:
        ours = [".localhost", "127.0.0.1", "[::1]"]  # as HttpRequest.get_host() has it
    try:
        return urlsplit(origin).netloc == host and validate_host(split_domain_port(host)[0], ours)
    except ValueError:  # an address that is none, as in http://[::1
        return False
