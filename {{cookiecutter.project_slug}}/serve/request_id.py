"""The id that the proxy gives to each request and WebSocket, in every record logged for it."""

import logging
from contextvars import ContextVar

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdMiddleware:
    """Keep the X-Request-ID header, for all tasks and threads of a request.

    Args:
        app: the ASGI application.
    """

    def __init__(self, app: ASGI3Application) -> None:
        self.app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "lifespan":
            for name, value in scope.get("headers", ()):
                if name == b"x-request-id":
                    request_id.set(value.decode("latin-1"))
        await self.app(scope, receive, send)


class AddRequestId(logging.Filter):
    """Add the id of the current request to log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        if value := request_id.get():
            record.request_id = value
        return True
