"""What a browser can do with a socket, and what it can't."""

import pytest

from config import contract
from config.asgi import application
from realtime.consumers import CloseCode
from tests.sockets import SITE, connect, running

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_echo_sends_text_back_as_text():
    async with connect("/ws/echo/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        await socket.send("¡hola!")
        assert (await socket.receive())["text"] == "¡hola!"


async def test_the_echo_sends_bytes_back_as_bytes():
    async with connect("/ws/echo/") as socket:
        await socket.receive()
        await socket.send_input({"type": "websocket.receive", "bytes": b"\x00\xff"})
        assert (await socket.receive())["bytes"] == b"\x00\xff"


OTHERS = ["https://evil.example", "http://testserver:81", "http://[::1", "null", None]


@pytest.mark.parametrize("origin", OTHERS)
async def test_a_page_of_another_site_is_refused_before_the_handshake(origin):
    async with connect("/ws/echo/", origin=origin) as socket:
        assert (await socket.receive())["type"] == "websocket.close"


@pytest.mark.parametrize(("origin", "answer"), [("https", "accept"), ("http", "close")])
async def test_a_page_that_came_in_the_clear_opens_no_socket_by_https(origin, answer):
    headers = [(b"host", b"testserver"), (b"origin", f"{origin}://testserver".encode())]
    scope = {"type": "websocket", "scheme": "wss", "path": "/ws/echo/", "headers": headers}
    async with running(application, scope | {"query_string": b""}) as socket:
        assert (await socket.receive())["type"] == f"websocket.{answer}"


async def test_a_host_that_is_not_ours_is_refused_whatever_the_origin(settings):
    settings.ALLOWED_HOSTS = ["another.example"]
    async with connect("/ws/echo/") as socket:
        assert (await socket.receive())["type"] == "websocket.close"


async def test_a_page_of_another_site_may_be_let_in(monkeypatch):
    monkeypatch.setattr(contract, "WS_ALLOWED_ORIGINS", ["https://app.example"])
    async with connect("/ws/echo/", origin="https://app.example") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"


STRANGE = [
    (b"cookie", b'sessionid=\xff\x80; ;="'),
    (b"x-forwarded-for", b"\xff, ,[::1,1.2.3"),
    (b"x-request-id", b"\xc3\x28"),
    (b"authorization", b"\xff \x80"),
]


async def test_strange_bytes_in_a_handshake_are_no_error():
    ours = [(b"host", b"testserver"), (b"origin", SITE.encode()), *STRANGE]
    scope = {"type": "websocket", "path": "/ws/echo/", "query_string": b"\xff", "headers": ours}
    async with running(application, scope | {"client": ("127.0.0.1", 1)}) as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
    for headers in ([], [(b"host", b"\xff:\x80"), (b"origin", b"http://\xff:\x80"), *STRANGE]):
        async with running(application, scope | {"headers": headers}) as socket:
            assert (await socket.receive())["type"] == "websocket.close"


async def test_where_there_is_no_socket_a_browser_is_told_so():
    async with connect("/ws/nothing/here/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["code"] == CloseCode.NOT_FOUND
