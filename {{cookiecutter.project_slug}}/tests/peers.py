"""The server's side of an ASGI connection, for tests of middleware without a server."""

import asyncio

DENIAL = {"type": "websocket", "extensions": {"websocket.http.response": {}}}


class Peer:
    """The server's side of one connection: queued events and sent messages."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.events: asyncio.Queue = asyncio.Queue()

    async def receive(self) -> dict:
        return await self.events.get()

    async def send(self, message: dict) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.events.put_nowait({"type": "websocket.disconnect", "code": message["code"]})


async def hold(scope, receive, send) -> None:
    """Accept, then wait for the disconnect, as a consumer does."""
    await send({"type": "websocket.accept", "subprotocol": scope.get("wanted")})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def opened(application, **scope: object) -> tuple[Peer, asyncio.Task]:
    """Open a socket; return its peer and its task."""
    peer = Peer()
    scope |= {"type": "websocket"}
    task = asyncio.create_task(application(scope, peer.receive, peer.send))
    await asyncio.sleep(0)
    return peer, task
