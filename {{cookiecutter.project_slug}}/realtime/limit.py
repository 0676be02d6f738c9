"""How much a process takes on at a time."""

from config import contract

RETRY_AFTER = b"5"  # seconds


class ConnectionLimit:
    """ASGI middleware that answers 503 to requests and sockets over MAX_CONNECTIONS.

    Servers count differently, or not at all: uvicorn leaves WebSockets out, and refuses pages for
    their sake. Health checks stay outside of it: a process that is busy is not to be restarted.

    Args:
        application: the ASGI application that may be busy.
        most: requests and sockets under way at a time.
    """

    def __init__(self, application, most: int = contract.MAX_CONNECTIONS) -> None:
        self.application = application
        self.most = most
        self.under_way = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if self.under_way >= self.most:
            await refuse(scope, receive, send)
            return
        self.under_way += 1
        try:
            await self.application(scope, receive, send)
        finally:
            self.under_way -= 1


async def refuse(scope, receive, send) -> None:
    """Answer 503, to a WebSocket handshake too, where the server can.

    https://asgi.readthedocs.io/en/stable/extensions.html#websocket-denial-response
    """
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})
            return
        kind = "websocket.http.response"
    headers = [(b"retry-after", RETRY_AFTER), (b"content-length", b"0")]
    await send({"type": f"{kind}.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.body", "body": b""})
