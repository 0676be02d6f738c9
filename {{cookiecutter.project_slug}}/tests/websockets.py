"""WebSocket clients for tests, without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.urls import path as route

from config.asgi import application
from config.routing import websocket_router
from realtime.consumers import Consumer
from realtime.streams import apublish

SITE = "http://testserver"
# Timeout in seconds, long enough for a busy machine.
PATIENCE = 10


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds. Raises TimeoutError after PATIENCE seconds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  conditions differ, and few have an event
            await asyncio.sleep(0.01)


class Lobby(Consumer):
    """Send a welcome message, publish each client message, and track presence."""

    async def connect(self) -> None:
        await super().connect()
        self.require_login()
        await self.send_json({"type": "welcome", "you": self.scope["user"].get_username()})
        await self.subscribe("lobby", present=True)

    async def receive_json(self, content: dict, **kwargs) -> None:
        await apublish("lobby", content)


websocket_router.routes.insert(0, route("ws/lobby/", Lobby.as_asgi()))


class WebSocketClient(ApplicationCommunicator):
    """A WebSocket connection to an ASGI application."""

    async def send(self, text: str) -> None:
        """Send a text message."""
        await self.send_input({"type": "websocket.receive", "text": text})

    async def receive(self) -> dict:
        """Return the application's next ASGI event. Raises TimeoutError after PATIENCE seconds."""
        return await self.receive_output(PATIENCE)

    async def receive_type(self, kind: str) -> dict:
        """Return the next JSON message of a type, skipping others."""
        while True:
            message = await self.receive()
            assert message["type"] == "websocket.send", message
            content = json.loads(message["text"])
            if content["type"] == kind:
                return content

    async def accepted(self) -> None:
        """Wait until the handshake is accepted."""
        assert (await self.receive())["type"] == "websocket.accept"

    async def follows(self) -> dict:
        """Wait for the subscription and return its `subscribed` message."""
        await self.accepted()
        return await self.receive_type("subscribed")


@asynccontextmanager
async def running(application, scope: dict) -> AsyncIterator[WebSocketClient]:
    """Open a socket to an ASGI application, and close it on exit."""
    socket = WebSocketClient(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    try:
        yield socket
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait(PATIENCE)
    finally:
        socket.stop(exceptions=False)


@asynccontextmanager
async def connect(
    path: str,
    *,
    origin: str | None = SITE,
    client: Client | None = None,
    authorization: str | None = None,
) -> AsyncIterator[WebSocketClient]:
    """Open a socket to the whole application, with a client's cookies; close it on exit."""
    headers = [(b"host", b"testserver")]
    if authorization:
        headers.append((b"authorization", authorization.encode()))
    if origin:
        headers.append((b"origin", origin.encode()))
    if client:
        headers.append((b"cookie", client.cookies.output(header="", sep=";").strip().encode()))
    path, _, query = path.partition("?")
    scope = {"type": "websocket", "path": path, "query_string": query.encode(), "headers": headers}
    async with running(application, scope) as socket:
        yield socket
