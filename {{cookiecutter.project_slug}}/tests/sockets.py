"""The browser's side of a WebSocket, without a server in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.urls import path as route

from config.asgi import application, sockets
from realtime.consumers import Consumer
from realtime.streams import apublish

SITE = "http://testserver"
# Seconds that a machine may take for what is to happen at once.
PATIENCE = 10


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so. Raises TimeoutError if it does not come to that."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


class Lobby(Consumer):
    """A socket whose clients are told who they are, hear each other, and see who is here."""

    async def connect(self) -> None:
        await super().connect()
        self.require_login()
        await self.send_json({"type": "welcome", "you": self.scope["user"].get_username()})
        await self.subscribe("lobby", present=True)

    async def receive_json(self, content: dict) -> None:
        await apublish("lobby", content)


sockets.application.routes.insert(0, route("ws/lobby/", Lobby.as_asgi()))


class Socket(ApplicationCommunicator):
    """A WebSocket to the whole application: origin check, session, routes and all."""

    async def send(self, text: str) -> None:
        """Send a text message."""
        await self.send_input({"type": "websocket.receive", "text": text})

    async def receive(self) -> dict:
        """Return the next ASGI event from the application. Raises TimeoutError if none comes."""
        return await self.receive_output(PATIENCE)

    async def hear(self, kind: str) -> dict:
        """Return the next JSON message of a type; others are passed over."""
        while True:
            message = await self.receive()
            assert message["type"] == "websocket.send", message
            content = json.loads(message["text"])
            if content["type"] == kind:
                return content

    async def accepted(self) -> None:
        """Wait until the socket is let in."""
        assert (await self.receive())["type"] == "websocket.accept"

    async def follows(self) -> dict:
        """Wait until the socket follows its stream, and return what it is told of that."""
        await self.accepted()
        return await self.hear("subscribed")


@asynccontextmanager
async def running(application, scope: dict) -> AsyncIterator[Socket]:
    """Open a socket to an ASGI application; close it in the end."""
    socket = Socket(application, scope)
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
) -> AsyncIterator[Socket]:
    """Open a socket, with the cookies of a client that has logged in; close it in the end."""
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
