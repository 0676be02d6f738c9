"""What a browser can do with a socket, and what it can't."""

import pytest

from config import contract
from realtime.consumers import CloseCode
from tests.sockets import connect

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


async def test_a_host_that_is_not_ours_is_refused_whatever_the_origin(settings):
    settings.ALLOWED_HOSTS = ["another.example"]
    async with connect("/ws/echo/") as socket:
        assert (await socket.receive())["type"] == "websocket.close"


async def test_a_page_of_another_site_may_be_let_in(monkeypatch):
    monkeypatch.setattr(contract, "WS_ALLOWED_ORIGINS", ["https://app.example"])
    async with connect("/ws/echo/", origin="https://app.example") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"


async def test_where_there_is_no_socket_a_browser_is_told_so():
    async with connect("/ws/nothing/here/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["code"] == CloseCode.NOT_FOUND
