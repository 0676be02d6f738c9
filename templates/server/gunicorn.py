"""The settings as the command line of gunicorn with uvicorn's worker.

https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.conf import ServeSettings

NAME = "gunicorn"
# serve/worker.py and serve/*_patches.py change private names of these versions.
TESTED_VERSIONS = {
    "gunicorn": ("27.0.1", "27.1"),
    "uvicorn": ("0.54", "0.55"),
    "uvicorn-worker": ("0.4", "0.5"),
}
# Attributes of log records that are not to be logged: the message again, with colours.
LOG_EXTRAS = ["color_message"]


def loggers(debug: bool) -> dict[str, dict[str, object]]:
    """Return the configuration of the server's loggers, for logging.config."""
    return {
        "gunicorn.error": {"propagate": True},
        # In production nginx logs each request and WebSocket.
        "uvicorn.access": {"propagate": debug},
        "uvicorn.error": {"propagate": True, "level": "INFO" if debug else "WARNING"},
    }


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the application."""
    options = {
        "worker-class": "serve.worker.PatchedUvicornWorker",
        "logger-class": "serve.gunicorn_patches.PatchedLogger",
        "bind": settings.BIND,
        "workers": settings.PROCESSES,
        "keep-alive": settings.KEEPALIVE_TIMEOUT,
        # A worker drains itself, then waits for its requests. After this time it is killed.
        "graceful-timeout": settings.STOP_GRACE_SECONDS,
        # https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
        "worker-tmp-dir": "/dev/shm",  # noqa: S108
    }
    return [
        *(sys.executable, "-m", "gunicorn", settings.ASGI_APPLICATION),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-control-socket",
        *settings.SERVER_ARGS,
    ]
