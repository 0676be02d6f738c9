"""The limit of requests and sockets that a process has open at a time."""

from typing import cast

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
    WebSocketScope,
)

RETRY_AFTER = b"5"  # seconds


class ConnectionLimitMiddleware:
    """ASGI middleware that answers 503 above the limit.

    Servers count differently, or not at all; some refuse pages because of open WebSockets.

    Args:
        app: the ASGI application.
        max_connections: how many requests and sockets may be open at a time.
    """

    def __init__(self, app: ASGI3Application, *, max_connections: int) -> None:
        self.app = app
        self.max_connections = max_connections
        self.open = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if self.open >= self.max_connections:
            await service_unavailable(scope, receive, send)
            return
        self.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.open -= 1


async def service_unavailable(
    scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Answer 503, a WebSocket handshake, too, if the server supports that.

    https://asgi.readthedocs.io/en/stable/extensions.html#websocket-denial-response
    """
    headers = [(b"retry-after", RETRY_AFTER), (b"content-length", b"0")]
    if scope["type"] == "http":
        await send(
            {"type": "http.response.start", "status": 503, "headers": headers, "trailers": False}
        )
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await receive()
    extensions = cast(WebSocketScope, scope).get("extensions") or {}
    if "websocket.http.response" in extensions:
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1013, "reason": None})
