"""hypercorn: the contract as its command line.

https://hypercorn.readthedocs.io/en/latest/how_to_guides/configuring.html
"""

import sys

from config import contract

NAME = "hypercorn"
LOG_EXTRAS = []
LOGGERS = {
    "hypercorn.access": {"propagate": True},
    "hypercorn.error": {"propagate": True, "level": "INFO" if contract.DEBUG else "WARNING"},
}


def command() -> list[str]:
    """Return the command that serves the application."""
    options = {
        "bind": contract.BIND,
        # 0: no parent. One process needs none, since the container is started again.
        "workers": contract.WEB_CONCURRENCY if contract.WEB_CONCURRENCY > 1 else 0,
        "keep-alive": contract.KEEPALIVE_TIMEOUT,
        "graceful-timeout": contract.REQUEST_TIMEOUT,
        "websocket-ping-interval": contract.WS_PING_INTERVAL,
        "backlog": 2048,  # as the other servers have it
        "log-level": contract.LOG_LEVEL,
    }
    if contract.DEBUG:  # else the proxy logs each request and socket
        options["access-logfile"] = "-"
    return [
        *(sys.executable, "-m", "serve.worker", "config.asgi:application"),
        *(f"--{name}={value}" for name, value in options.items()),
        *contract.SERVER_ARGS,
    ]
