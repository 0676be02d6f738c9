"""Forwarded headers: which are trusted, and what they change."""

import pytest

from serve.forwarded import ForwardedHeadersMiddleware

TRUSTED_PROXIES = ["10.0.0.0/8", "::1"]
FORWARDED = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}


async def received_scope(
    peer: str | None, headers: dict, kind: str = "http", root_path: str = ""
) -> dict:
    """Return the scope that the application receives."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    scope = {
        "type": kind,
        "client": peer and (peer, 1234),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    middleware = ForwardedHeadersMiddleware(
        app, trusted_proxies=TRUSTED_PROXIES, root_path=root_path
    )
    await middleware(scope, None, None)
    return scopes[0]


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "::1", None])
async def test_trusted_proxy(peer):
    """The headers of a trusted proxy, and of a peer on a Unix socket, are applied."""
    scope = await received_scope(peer, FORWARDED)
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "https")


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "no address"])
async def test_untrusted_peer(peer):
    """The headers of any other peer are ignored."""
    scope = await received_scope(peer, FORWARDED)
    assert (scope["client"][0], scope["scheme"]) == (peer, "http")


async def test_websocket_over_https():
    """A WebSocket over HTTPS has the scheme wss."""
    assert (await received_scope("10.0.0.1", FORWARDED, "websocket"))["scheme"] == "wss"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("8.8.8.8, 203.0.113.7", "203.0.113.7"),
        ("8.8.8.8, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8::7", "2001:db8::7"),
        ("unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
async def test_rightmost_untrusted(forwarded, client):
    """The client is the rightmost address that is not a trusted proxy's."""
    scope = await received_scope("10.0.0.1", {"x-forwarded-for": forwarded})
    assert scope["client"][0] == client


async def test_invalid_scheme():
    """A scheme other than http and https is ignored."""
    scope = await received_scope("10.0.0.1", {"x-forwarded-proto": "gopher"})
    assert scope["scheme"] == "http"


async def test_root_path():
    """The root path is the configured one."""
    assert (await received_scope("10.0.0.1", {}, root_path="/chat"))["root_path"] == "/chat"
