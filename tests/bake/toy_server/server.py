"""The settings as the toy server's command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.conf import ServeSettings

NAME = "toy"
# The toy changes no private names of a package.
TESTED_VERSIONS: dict[str, tuple[str, str]] = {}
# Attributes of log records that are not to be logged.
LOG_EXTRAS: list[str] = []


def loggers(debug: bool) -> dict[str, dict[str, object]]:
    """Return the configuration of the server's loggers, for logging.config."""
    return {"toy": {"level": "INFO" if debug else "WARNING"}}


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the application."""
    host, _, port = settings.BIND.rpartition(":")
    return [
        *(sys.executable, "-m", "serve.worker", settings.ASGI_APPLICATION),
        *(host, port, *settings.SERVER_ARGS),
    ]
