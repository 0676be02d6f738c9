"""The id that the proxy gives to each request and socket, in every line that is logged for it."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestId:
    """ASGI middleware that remembers X-Request-ID, for all tasks and threads of a request."""

    def __init__(self, application) -> None:
        self.application = application

    async def __call__(self, scope, receive, send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-request-id":
                request_id.set(value.decode("latin-1"))
        await self.application(scope, receive, send)


class AddRequestId(logging.Filter):
    """Gives it to the records that are logged meanwhile."""

    def filter(self, record: logging.LogRecord) -> bool:
        if value := request_id.get():
            record.request_id = value
        return True
