"""The settings as daphne's command line, or as supervisord's for several processes.

https://github.com/django/daphne, https://supervisord.org/configuration.html
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.conf import ServeSettings

NAME = "daphne"
# serve/worker.py changes private names of these versions.
TESTED_VERSIONS = {
    "autobahn": ("26.10", "27"),
    "daphne": ("4.2.3", "4.3"),
    "supervisor": ("4.3", "4.4"),
}
# Attributes of log records that are not to be logged.
LOG_EXTRAS: list[str] = []

# One listening socket, which each process has as its standard input.
SUPERVISORD = """\
[supervisord]
nodaemon = true
silent = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {pidfile}

[fcgi-program:daphne]
socket = {socket}
socket_backlog = 2048
command = {command}
process_name = %(process_num)d
numprocs = {processes}
autorestart = true
startsecs = 0
stopwaitsecs = {stop_seconds}
redirect_stderr = true
stdout_logfile = /dev/fd/1
stdout_logfile_maxbytes = 0
"""


def loggers(debug: bool) -> dict[str, dict[str, object]]:
    """Return the configuration of the server's loggers, for logging.config."""
    level = "INFO" if debug else "WARNING"
    return {"daphne": {"level": level}, "supervisord": {"level": level}}


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the application.

    Raises:
        SystemExit: daphne cannot do what the settings say. The message says what to change.
    """
    if settings.PROCESSES > 1:
        return supervised(settings)
    if settings.BIND.startswith("unix:"):
        # No lock file: in a container the next process may have the process id of the killed one.
        return daphne(settings, f"--endpoint={settings.BIND}:lockfile=0")
    host, _, port = settings.BIND.rpartition(":")
    return daphne(settings, f"--bind={host}", f"--port={port}")


def daphne(settings: ServeSettings, *bind: str) -> list[str]:
    """Return the command for one process that listens where these options say."""
    options = {
        "ping-interval": settings.WS_PING_INTERVAL,
        "ping-timeout": settings.WS_PING_TIMEOUT,
        "websocket-max-message-size": settings.WS_MAX_MESSAGE_BYTES,
        "websocket-max-frame-size": settings.WS_MAX_MESSAGE_BYTES,
        "websocket_timeout": -1,
        "websocket_connect_timeout": settings.REQUEST_TIMEOUT,
        "application-close-timeout": settings.REQUEST_TIMEOUT,
        # 1 logs each request, and daphne's own steps. In production nginx logs the requests.
        "verbosity": 1 if settings.DEBUG else 0,
    }
    return [
        *(sys.executable, "-m", "serve.worker", settings.ASGI_APPLICATION, *bind),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-server-name",
        *settings.SERVER_ARGS,
    ]


def supervised(settings: ServeSettings) -> list[str]:
    """Return the command for several processes, and write the configuration file that it names."""
    if "[" in settings.BIND:
        sys.exit(
            "BIND: several processes of daphne share a socket of supervisord's, which knows no"
            " IPv6. Give an IPv4 address or a Unix socket, or set WEB_CONCURRENCY=1."
        )
    kind = "unix://" if settings.BIND.startswith("unix:") else "tcp://"
    folder = Path(tempfile.gettempdir())
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        SUPERVISORD.format(
            pidfile=folder / "supervisord.pid",
            socket=kind + settings.BIND.removeprefix("unix:"),
            command=shlex.join(daphne(settings, "--fd=0")).replace("%", "%%"),
            processes=settings.PROCESSES,
            stop_seconds=settings.STOP_GRACE_SECONDS,
        )
    )
    return [sys.executable, "-m", "serve.worker", "supervise", f"--configuration={configuration}"]
