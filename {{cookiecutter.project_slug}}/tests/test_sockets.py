"""WebSockets of browsers: echo, Origin checks and malformed handshakes."""

import pytest

from config.asgi import application
from realtime.protocol import CloseCode
from tests.websockets import SITE, connect, running

pytestmark = pytest.mark.django_db(transaction=True)


async def test_echo_text():
    """The echo returns text as text."""
    async with connect("/ws/echo/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        await socket.send("¡hola!")
        assert (await socket.receive())["text"] == "¡hola!"


async def test_echo_bytes():
    """The echo returns bytes as bytes."""
    async with connect("/ws/echo/") as socket:
        await socket.receive()
        await socket.send_input({"type": "websocket.receive", "bytes": b"\x00\xff"})
        assert (await socket.receive())["bytes"] == b"\x00\xff"


OTHERS = ["https://evil.example", "http://testserver:81", "http://[::1", "null", None]


@pytest.mark.parametrize("origin", OTHERS)
async def test_cross_origin(origin):
    """A handshake with another site's Origin, or without one, is refused."""
    async with connect("/ws/echo/", origin=origin) as socket:
        assert (await socket.receive())["type"] == "websocket.close"


@pytest.mark.parametrize(("origin", "answer"), [("https", "accept"), ("http", "close")])
async def test_origin_over_http(origin, answer):
    """A page loaded over plain HTTP cannot open a WebSocket over HTTPS."""
    headers = [(b"host", b"testserver"), (b"origin", f"{origin}://testserver".encode())]
    scope = {"type": "websocket", "scheme": "wss", "path": "/ws/echo/", "headers": headers}
    async with running(application, scope | {"query_string": b""}) as socket:
        assert (await socket.receive())["type"] == f"websocket.{answer}"


async def test_disallowed_host(settings):
    """A handshake for a host outside ALLOWED_HOSTS is refused, whatever its Origin."""
    settings.ALLOWED_HOSTS = ["another.example"]
    async with connect("/ws/echo/") as socket:
        assert (await socket.receive())["type"] == "websocket.close"


async def test_allowed_origin(realtime):
    """An origin in WS_ALLOWED_ORIGINS is accepted."""
    realtime(ALLOWED_ORIGINS=["https://app.example"])
    async with connect("/ws/echo/", origin="https://app.example") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"


STRANGE = [
    (b"cookie", b'sessionid=\xff\x80; ;="'),
    (b"x-forwarded-for", b"\xff, ,[::1,1.2.3"),
    (b"x-request-id", b"\xc3\x28"),
    (b"authorization", b"\xff \x80"),
]


async def test_malformed_headers():
    """Malformed headers in a handshake cause no server error."""
    ours = [(b"host", b"testserver"), (b"origin", SITE.encode()), *STRANGE]
    scope = {"type": "websocket", "path": "/ws/echo/", "query_string": b"\xff", "headers": ours}
    async with running(application, scope | {"client": ("127.0.0.1", 1)}) as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
    for headers in ([], [(b"host", b"\xff:\x80"), (b"origin", b"http://\xff:\x80"), *STRANGE]):
        async with running(application, scope | {"headers": headers}) as socket:
            assert (await socket.receive())["type"] == "websocket.close"


async def test_unknown_path():
    """A socket to an unknown path is accepted, then closed with 4404, which browsers can read."""
    async with connect("/ws/nothing/here/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["code"] == CloseCode.NOT_FOUND
