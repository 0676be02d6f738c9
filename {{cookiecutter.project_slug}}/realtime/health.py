"""/livez and /readyz, answered before Django looks at the Host header or at anything else."""

import asyncio
import json
import logging

from channels.db import database_sync_to_async
from django.db import connection
from redis.asyncio import Redis

from config import contract
from realtime.connections import Connections

logger = logging.getLogger(__name__)

TIMEOUT = 2  # seconds for each check


@database_sync_to_async
def ask_database() -> None:
    """Run the smallest query. Raises django.db.Error if it cannot be answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def ask_redis() -> None:
    """Ping Redis. Raises redis.RedisError or OSError if it does not answer."""
    async with Redis.from_url(contract.REDIS_URL) as redis:
        await redis.ping()


CHECKS = {"database": ask_database}
if contract.REDIS_URL:
    CHECKS["redis"] = ask_redis


async def healthy(name: str) -> bool:
    """Whether this check passes in time. Why not is logged: the caller may be a stranger."""
    try:
        async with asyncio.timeout(TIMEOUT):
            await CHECKS[name]()
    except Exception as error:
        logger.warning("%s is not ready: %r", name, error)
        return False
    return True


async def readiness() -> tuple[int, dict[str, bool]]:
    """Return what /readyz answers, status and body, while this process is here to stay."""
    passed = await asyncio.gather(*map(healthy, CHECKS))
    return 200 if all(passed) else 503, dict(zip(CHECKS, passed, strict=True))


async def respond(send, status: int, body: dict) -> None:
    """Send a small JSON response that nobody may cache."""
    payload = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", b"%d" % len(payload)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


class Health:
    """ASGI middleware: liveness touches nothing, readiness asks what the pages cannot do without.

    A process that is alive but not ready wants to be left alone, not restarted:
    https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/

    Args:
        application: the ASGI application for all else.
        connections: says whether this process is on its way out, and not ready for that.
    """

    def __init__(self, application, connections: Connections) -> None:
        self.application = application
        self.connections = connections
        self.asking: asyncio.Task | None = None

    async def __call__(self, scope, receive, send) -> None:
        match scope.get("path", "").removeprefix(contract.ROOT_PATH), scope["type"]:
            case "/livez", "http":
                await respond(send, 200, {"live": True})
            case "/readyz", "http" if self.connections.draining:
                sockets = len(self.connections.sockets)
                await respond(send, 503, {"draining": True, "sockets": sockets})
            case "/readyz", "http":
                await respond(send, *await self.readiness())
            case _:
                await self.application(scope, receive, send)

    async def readiness(self) -> tuple[int, dict[str, bool]]:
        """Ask once for all who want to know at the same time: anybody may, and be many."""
        if not self.asking or self.asking.done():
            self.asking = asyncio.create_task(readiness())
        return await asyncio.shield(self.asking)
