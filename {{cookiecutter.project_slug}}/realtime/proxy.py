"""What only the proxy in front knows: who the client is, and where the site is mounted."""

from functools import lru_cache
from ipaddress import ip_address, ip_network

from config import contract

TRUSTED = [ip_network(network) for network in contract.TRUSTED_PROXIES]
SECURE = {"http": "https", "websocket": "wss"}
PLAIN = {"http": "http", "websocket": "ws"}


class Proxy:
    """ASGI middleware that believes X-Forwarded-For and X-Forwarded-Proto of TRUSTED_PROXIES.

    The client is the last address in the list that is not a trusted proxy: what stands before it is
    what the client says of itself. A peer on a Unix socket has no address and is trusted, since the
    file system says who may connect. Not left to the server: some believe everybody, some nobody,
    and none of them a Unix socket.

    Args:
        application: the ASGI application behind the proxy.
        root_path: the prefix of all its URLs, without a slash at the end.
    """

    def __init__(self, application, root_path: str = contract.ROOT_PATH) -> None:
        self.application = application
        self.root_path = root_path

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] in PLAIN:
            scope["root_path"] = self.root_path
            scope.setdefault("scheme", PLAIN[scope["type"]])
            peer = scope.get("client")
            if not peer or trusted(peer[0]):
                believe(scope)
        await self.application(scope, receive, send)


def believe(scope) -> None:
    """Take the client's address and the scheme from the headers, where they make sense."""
    forwarded = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded.append(value.decode("latin-1"))
        elif name == b"x-forwarded-proto" and value in (b"http", b"https"):
            scope["scheme"] = (SECURE if value == b"https" else PLAIN)[scope["type"]]
    if client := last_stranger(",".join(forwarded)):
        scope["client"] = (client, 0)  # the port is the proxy's secret


def last_stranger(forwarded: str) -> str | None:
    """Return the last address in X-Forwarded-For that is no trusted proxy, or else the first."""
    addresses = [text for item in forwarded.split(",") if is_address(text := item.strip())]
    strangers = (text for text in reversed(addresses) if not trusted(text))
    return next(strangers, addresses[0] if addresses else None)


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def trusted(host: str) -> bool:
    """Whether a host is one of TRUSTED_PROXIES."""
    if not is_address(host):
        return False
    address = ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in TRUSTED)
