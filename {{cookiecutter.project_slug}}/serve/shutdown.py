"""Graceful shutdown: open sockets are asked to reconnect before the server stops."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol, cast

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from serve.control import ControlServer
from serve.limits import service_unavailable

logger = logging.getLogger(__name__)

# Minimum number of seconds from SIGTERM to the server's own shutdown, which closes its idle
# connections. nginx closes them after 2 s (nginx.conf.template): by then none is left on which a
# request could arrive.
SETTLE_SECONDS = 2.5
# Time limit, in seconds, for the consumers' disconnect() after all clients were asked to reconnect.
DISCONNECT_SECONDS = 5


class DrainableSocket(Protocol):
    """A WebSocket whose client can be asked to reconnect."""

    async def request_reconnect(self) -> None:
        """Ask the client to reconnect, to another process, and close the WebSocket."""


@dataclass
class Drain:
    """The drain state of this process, and its open WebSockets.

    Inner applications find this object in `scope["state"]["drain"]`. An application that handles
    WebSockets adds each of them to `sockets`, and removes it when its consumer has ended.
    """

    active: bool = False
    sockets: set[DrainableSocket] = field(default_factory=set)


def drain_of(scope: Scope) -> Drain:
    """Return the drain state of this process from a scope."""
    return cast(Drain, scope["state"]["drain"])


class GracefulShutdownMiddleware:
    """ASGI middleware that drains the process before the server stops.

    On SIGTERM, new WebSockets are refused with 503, each response closes its connection, and the
    clients of open WebSockets are asked to reconnect, one after another. When all consumers have
    ended, or after DISCONNECT_SECONDS, the server's own signal handler runs: on its own, it would
    drop the WebSockets at once on most servers. `manage.py drain` does the same, except for the
    last step.

    Args:
        app: the ASGI application, for HTTP and WebSocket. Lifespan events do not reach it, because
            Channels does not answer them: https://github.com/django/channels/issues/2018
        drain_seconds: maximum time over which the clients are asked; at most 0.1 s per client.
        control_dir: the directory of the control sockets (serve/control.py).
    """

    def __init__(self, app: ASGI3Application, *, drain_seconds: float, control_dir: Path) -> None:
        self.app = app
        self.drain_seconds = drain_seconds
        self.control_dir = control_dir
        self.state = Drain()
        self.stopping = False

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        scope.setdefault("state", {})["drain"] = self.state
        if not self.state.active:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await service_unavailable(scope, receive, send)
        else:
            await self.app(scope, receive, with_connection_close(send))

    async def lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Install the SIGTERM handler at startup, and run the control server until shutdown.

        https://asgi.readthedocs.io/en/stable/specs/lifespan.html
        """
        loop = asyncio.get_running_loop()

        def drain_from_thread() -> int:
            return asyncio.run_coroutine_threadsafe(self.drain(), loop).result()

        def resume_from_thread() -> None:
            loop.call_soon_threadsafe(self.resume)

        control = ControlServer(
            self.control_dir,
            drain=drain_from_thread,
            resume=resume_from_thread,
        )
        await receive()  # lifespan.startup
        self.drain_on_sigterm(loop)
        control.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        control.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def drain_on_sigterm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the drain before the server's own SIGTERM handler, if it has one."""
        server_handler = signal.getsignal(signal.SIGTERM)

        def drain_first(number: int, frame: FrameType | None) -> None:
            if not self.stopping and callable(server_handler):  # some supervisors signal twice
                self.stopping = True
                stop = self.stop(lambda: server_handler(number, frame))
                asyncio.run_coroutine_threadsafe(stop, loop)

        if callable(server_handler):
            signal.signal(signal.SIGTERM, drain_first)

    async def stop(self, stop_server: Callable[[], object]) -> None:
        """Drain this process, then stop the server."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(SETTLE_SECONDS))
            tasks.create_task(self.drain())
        stop_server()

    async def drain(self) -> int:
        """Refuse new WebSockets, and ask the clients of open ones to reconnect.

        Returns:
            the number of WebSockets still open DISCONNECT_SECONDS after all clients were asked.
        """
        self.state.active = True
        sockets = list(self.state.sockets)
        logger.info("drain started, %d WebSockets open", len(sockets))
        async with asyncio.TaskGroup() as tasks:
            for socket in sockets:
                tasks.create_task(socket.request_reconnect())
                await asyncio.sleep(min(self.drain_seconds / len(sockets), 0.1))
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCONNECT_SECONDS):
                while self.state.sockets:  # noqa: ASYNC110  consumers remove them
                    await asyncio.sleep(0.05)
        logger.info("drain finished, %d WebSockets still open", len(self.state.sockets))
        return len(self.state.sockets)

    def resume(self) -> None:
        """Accept WebSockets again, unless the server is stopping."""
        self.state.active = self.stopping


def with_connection_close(send: ASGISendCallable) -> ASGISendCallable:
    """Return a `send` that makes the response close its connection (RFC 9112, 9.6)."""

    async def send_and_close(event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            event = event.copy()
            event["headers"] = [*event.get("headers", ()), (b"connection", b"close")]
        await send(event)

    return send_and_close
