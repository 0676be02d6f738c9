"""/livez and /readyz, answered before Django checks the Host header."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from serve.shutdown import drain_of

logger = logging.getLogger(__name__)

Checks = Mapping[str, Callable[[], Awaitable[None]]]

CHECK_TIMEOUT = 2.0  # seconds for each check


async def passes(name: str, check: Callable[[], Awaitable[None]]) -> bool:
    """Return whether a check passes in time. A failure is logged, not sent: anyone may ask."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await check()
    except Exception as error:
        logger.warning("%s is not ready: %r", name, error)
        return False
    return True


async def readiness(checks: Checks) -> tuple[int, dict[str, bool]]:
    """Run all checks at the same time, and return the status and body of /readyz."""
    passed = await asyncio.gather(*(passes(*item) for item in checks.items()))
    return 200 if all(passed) else 503, dict(zip(checks, passed, strict=True))


async def respond(send: ASGISendCallable, status: int, body: Mapping[str, object]) -> None:
    """Send a small JSON response that must not be cached."""
    payload = json.dumps(body).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"cache-control", b"no-store"),
                (b"content-length", b"%d" % len(payload)),
            ],
            "trailers": False,
        }
    )
    await send({"type": "http.response.body", "body": payload, "more_body": False})


class HealthMiddleware:
    """ASGI middleware that answers liveness and readiness probes.

    Liveness checks nothing: a process that is alive but not ready must not be restarted for that.
    https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/

    Args:
        app: the ASGI application for all other requests.
        checks: by name, coroutine functions that raise if a service is unavailable.
        root_path: the prefix of all URLs, without a slash at the end.
    """

    def __init__(self, app: ASGI3Application, *, checks: Checks, root_path: str = "") -> None:
        self.app = app
        self.checks = checks
        self.root_path = root_path
        self.checking: asyncio.Task[tuple[int, dict[str, bool]]] | None = None

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        path = scope["path"].removeprefix(self.root_path) if scope["type"] == "http" else ""
        if path == "/livez":
            await respond(send, 200, {"live": True})
        elif path == "/readyz" and (drain := drain_of(scope)).active:
            await respond(send, 503, {"draining": True, "sockets": len(drain.sockets)})
        elif path == "/readyz":
            await respond(send, *await self.readiness())
        else:
            await self.app(scope, receive, send)

    async def readiness(self) -> tuple[int, dict[str, bool]]:
        """Run the checks once for all probes that arrive meanwhile."""
        if not self.checking or self.checking.done():
            # In an empty context: its log lines belong to no single probe.
            self.checking = asyncio.create_task(readiness(self.checks), context=Context())
        return await asyncio.shield(self.checking)
