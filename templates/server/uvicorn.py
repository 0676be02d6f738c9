"""The settings as uvicorn's command line. https://uvicorn.dev/settings/"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.conf import ServeSettings

NAME = "uvicorn"
# serve/worker.py and serve/uvicorn_patches.py change private names of these versions.
TESTED_VERSIONS = {"uvicorn": ("0.54", "0.55")}
# Attributes of log records that are not to be logged: the message again, with colours.
LOG_EXTRAS = ["color_message"]


def loggers(debug: bool) -> dict[str, dict[str, object]]:
    """Return the configuration of the server's loggers, for logging.config."""
    return {
        "uvicorn": {"propagate": True},
        # In production nginx logs each request and WebSocket.
        "uvicorn.access": {"propagate": debug},
        "uvicorn.error": {"propagate": True, "level": "INFO" if debug else "WARNING"},
    }


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the application."""
    if settings.BIND.startswith("unix:"):
        bind = {"uds": settings.BIND.removeprefix("unix:")}
    else:
        host, _, port = settings.BIND.rpartition(":")
        bind = {"host": host.strip("[]"), "port": port}
    options = {
        **bind,
        "workers": settings.PROCESSES,
        "timeout-keep-alive": settings.KEEPALIVE_TIMEOUT,
        "timeout-graceful-shutdown": settings.REQUEST_TIMEOUT,
        "ws": "serve.uvicorn_patches:PatchedWSProtocol",
        "ws-max-size": settings.WS_MAX_MESSAGE_BYTES,
        "ws-ping-interval": settings.WS_PING_INTERVAL,
        "ws-ping-timeout": settings.WS_PING_TIMEOUT,
        # Compression doubles the memory of a WebSocket, and most messages are short.
        "ws-per-message-deflate": "false",
        "log-level": settings.LOG_LEVEL.lower(),
    }
    return [
        *(sys.executable, "-m", "serve.worker", settings.ASGI_APPLICATION),
        *(f"--{name}={value}" for name, value in options.items()),
        "--access-log" if settings.DEBUG else "--no-access-log",
        *("--no-proxy-headers", "--no-server-header"),
        *settings.SERVER_ARGS,
    ]
