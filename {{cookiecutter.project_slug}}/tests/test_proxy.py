"""Whose word counts on where a request comes from."""

import pytest

from config import contract
from realtime import proxy
from realtime.proxy import Proxy


async def seen(peer: str | None, headers: dict, kind: str = "http", root: str = "") -> dict:
    """Return the scope that the application gets."""
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)

    scope = {
        "type": kind,
        "client": peer and (peer, 1234),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await Proxy(application, root)(scope, None, None)
    return scopes[0]


@pytest.fixture(autouse=True)
def _proxies(monkeypatch):
    networks = contract.networks("10.0.0.0/8, ::1")
    monkeypatch.setattr(proxy, "TRUSTED", [proxy.ip_network(network) for network in networks])
    proxy.trusted.cache_clear()
    yield
    proxy.trusted.cache_clear()


SAID = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "::1", None])
async def test_a_trusted_proxy_and_a_unix_socket_are_believed(peer):
    scope = await seen(peer, SAID)
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "https")


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "no address"])
async def test_a_stranger_is_not(peer):
    scope = await seen(peer, SAID)
    assert (scope["client"][0], scope["scheme"]) == (peer, "http")


async def test_a_socket_behind_https_is_a_secure_one():
    assert (await seen("10.0.0.1", SAID, "websocket"))["scheme"] == "wss"


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
async def test_the_client_is_the_last_one_that_is_no_proxy(forwarded, client):
    assert (await seen("10.0.0.1", {"x-forwarded-for": forwarded}))["client"][0] == client


async def test_a_scheme_that_is_none_is_not_believed():
    assert (await seen("10.0.0.1", {"x-forwarded-proto": "gopher"}))["scheme"] == "http"


async def test_the_root_path_is_that_of_the_contract():
    assert (await seen("10.0.0.1", {}, root="/chat"))["root_path"] == "/chat"
