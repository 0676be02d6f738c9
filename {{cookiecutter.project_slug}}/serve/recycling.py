"""Replacing a process after a number of requests, which bounds what a leak can take."""

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1  # until a process that may not end yet asks again


class RecyclingMiddleware:
    """ASGI middleware that ends the process after about `max_requests` requests and sockets.

    It sends SIGTERM to the process, which then shuts down gracefully (serve/shutdown.py).

    Args:
        app: the ASGI application.
        max_requests: up to 10 % more are served, so that processes do not end together; 0 for no
            limit.
        may_recycle: returns whether this process may end now, or has to wait for another one.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        max_requests: int,
        may_recycle: Callable[[], Awaitable[bool]],
    ) -> None:
        self.app = app
        self.may_recycle = may_recycle
        self.requests_left = -1
        if max_requests:
            self.requests_left = max_requests + random.randint(0, max_requests // 10)  # noqa: S311
        self.recycling: asyncio.Task[None] | None = None

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self.requests_left -= 1
            if self.requests_left == 0:
                self.recycling = asyncio.create_task(self.recycle())

    async def recycle(self) -> None:
        """End this process as soon as it may."""
        while not await self.may_recycle():  # noqa: ASYNC110  other processes decide
            await asyncio.sleep(RETRY_SECONDS)
        logger.info("stopping after MAX_REQUESTS")
        signal.raise_signal(signal.SIGTERM)
