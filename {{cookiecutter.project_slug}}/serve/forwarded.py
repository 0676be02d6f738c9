"""The client's address and scheme, and the site's prefix, which only the proxy in front knows."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
    WebSocketScope,
)


class TrustedProxies:
    """The networks whose forwarded headers are trusted.

    Args:
        networks: addresses and networks, such as "10.0.0.0/8".
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self.networks = [ip_network(network) for network in networks]
        # Most requests come from a few addresses: those of the proxies.
        self._is_trusted = lru_cache(maxsize=1024)(self._find)

    def __contains__(self, host: str) -> bool:
        return self._is_trusted(host)

    def _find(self, host: str) -> bool:
        address = parse_address(host)
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return address is not None and any(address in network for network in self.networks)

    def rightmost_untrusted(self, forwarded: str) -> str | None:
        """Return the client's address from the value of X-Forwarded-For.

        That is the last address that is not a trusted proxy's: the client may have sent those
        before it. If all are trusted it is the first; if there is none, None.
        """
        addresses = [text for item in forwarded.split(",") if parse_address(text := item.strip())]
        untrusted = (text for text in reversed(addresses) if text not in self)
        return next(untrusted, addresses[0] if addresses else None)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return a text as an IP address, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


class ForwardedHeadersMiddleware:
    """Set the client and the scheme from X-Forwarded-For and X-Forwarded-Proto, and the root path.

    The headers count if the connection comes from a trusted proxy, or over a Unix socket: that has
    no address, and its file's permissions say who may connect. This is not left to the servers:
    some trust all peers and some none, and none of them trusts a Unix socket.

    Args:
        app: the ASGI application behind the proxy.
        trusted_proxies: addresses and networks.
        root_path: the prefix of all its URLs, without a slash at the end.
    """

    def __init__(
        self, app: ASGI3Application, *, trusted_proxies: Iterable[str], root_path: str = ""
    ) -> None:
        self.app = app
        self.trusted_proxies = TrustedProxies(trusted_proxies)
        self.root_path = root_path

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http" or scope["type"] == "websocket":
            scope["root_path"] = self.root_path
            # Optional in the specification, and some servers leave it out:
            # https://asgi.readthedocs.io/en/stable/specs/www.html#websocket-connection-scope
            scope.setdefault("scheme", "http" if scope["type"] == "http" else "ws")
            peer = scope.get("client")
            if not peer or peer[0] in self.trusted_proxies:
                self.apply_headers(scope)
        await self.app(scope, receive, send)

    def apply_headers(self, scope: HTTPScope | WebSocketScope) -> None:
        """Set the client's address and the scheme from those headers that have valid values."""
        forwarded = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded.append(value.decode("latin-1"))
            elif name == b"x-forwarded-proto" and value in (b"http", b"https"):
                scheme = "http" if scope["type"] == "http" else "ws"
                scope["scheme"] = f"{scheme}s" if value == b"https" else scheme
        if client := self.trusted_proxies.rightmost_untrusted(",".join(forwarded)):
            scope["client"] = (client, 0)  # proxies do not forward the port
