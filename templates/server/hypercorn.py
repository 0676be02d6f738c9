"""The settings as hypercorn's command line.

https://hypercorn.readthedocs.io/en/latest/how_to_guides/configuring.html
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.conf import ServeSettings

NAME = "hypercorn"
# serve/worker.py changes private names of this version.
TESTED_VERSIONS = {"hypercorn": ("0.18", "0.19")}
# Attributes of log records that are not to be logged.
LOG_EXTRAS: list[str] = []


def loggers(debug: bool) -> dict[str, dict[str, object]]:
    """Return the configuration of the server's loggers, for logging.config."""
    return {
        "hypercorn.access": {"propagate": True},
        "hypercorn.error": {"propagate": True, "level": "INFO" if debug else "WARNING"},
    }


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the application."""
    options = {
        "bind": settings.BIND,
        # 0: no parent process. One process needs none: Docker starts the container again.
        "workers": settings.PROCESSES if settings.PROCESSES > 1 else 0,
        "keep-alive": settings.KEEPALIVE_TIMEOUT,
        "graceful-timeout": settings.REQUEST_TIMEOUT,
        "websocket-ping-interval": settings.WS_PING_INTERVAL,
        "backlog": 2048,  # the other servers' default
        "log-level": settings.LOG_LEVEL,
    }
    if settings.DEBUG:  # in production nginx logs each request and WebSocket
        options["access-logfile"] = "-"
    return [
        *(sys.executable, "-m", "serve.worker", settings.ASGI_APPLICATION),
        *(f"--{name}={value}" for name, value in options.items()),
        *settings.SERVER_ARGS,
    ]
