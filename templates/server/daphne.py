"""daphne: the contract as its command line, or as supervisord's for several processes.

https://github.com/django/daphne, https://supervisord.org/configuration.html
"""

import shlex
import sys
import tempfile
from pathlib import Path

from config import contract

NAME = "daphne"
LOG_EXTRAS = []
LOGGERS = {
    "daphne": {"level": "INFO" if contract.DEBUG else "WARNING"},
    "supervisord": {"level": "INFO" if contract.DEBUG else "WARNING"},
}

# One listening socket, and processes that have it as their standard input.
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
stopwaitsecs = {patience}
redirect_stderr = true
stdout_logfile = /dev/fd/1
stdout_logfile_maxbytes = 0
"""


def command() -> list[str]:
    """Return the command that serves the application.

    Raises:
        SystemExit: it cannot be had from daphne. The message says what to change.
    """
    if contract.WEB_CONCURRENCY > 1:
        return supervised()
    if contract.BIND.startswith("unix:"):
        # No lock file: in a container the next process may have the number of the one that is gone.
        return daphne(f"--endpoint={contract.BIND}:lockfile=0")
    host, _, port = contract.BIND.rpartition(":")
    return daphne(f"--bind={host}", f"--port={port}")


def daphne(*bind: str) -> list[str]:
    """Return the command for one process that listens as these options say."""
    options = {
        "ping-interval": contract.WS_PING_INTERVAL,
        "ping-timeout": contract.WS_PING_TIMEOUT,
        "websocket-max-message-size": contract.WS_MAX_MESSAGE_BYTES,
        "websocket-max-frame-size": contract.WS_MAX_MESSAGE_BYTES,
        "websocket_timeout": -1,
        "websocket_connect_timeout": contract.REQUEST_TIMEOUT,
        "application-close-timeout": contract.REQUEST_TIMEOUT,
        # Each request in the log, and what daphne itself does. The proxy logs the requests, too.
        "verbosity": 1 if contract.DEBUG else 0,
    }
    return [
        *(sys.executable, "-m", "serve.worker", "config.asgi:application", *bind),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-server-name",
        *contract.SERVER_ARGS,
    ]


def supervised() -> list[str]:
    """Return the command for WEB_CONCURRENCY processes, and write the configuration it names."""
    if "[" in contract.BIND:
        sys.exit(
            "BIND: several processes of daphne share a socket of supervisord's, which knows no"
            " IPv6. Give an IPv4 address or a Unix socket, or set WEB_CONCURRENCY=1."
        )
    kind = "unix://" if contract.BIND.startswith("unix:") else "tcp://"
    folder = Path(tempfile.gettempdir())
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        SUPERVISORD.format(
            pidfile=folder / "supervisord.pid",
            socket=kind + contract.BIND.removeprefix("unix:"),
            command=shlex.join(daphne("--fd=0")).replace("%", "%%"),
            processes=contract.WEB_CONCURRENCY,
            patience=contract.STOP_GRACE_SECONDS,
        )
    )
    return [sys.executable, "-m", "serve.worker", "supervise", f"--configuration={configuration}"]
