"""uvicorn: the contract as its command line. https://uvicorn.dev/settings/"""

import sys

from config import contract

NAME = "uvicorn"
LOG_EXTRAS = ["color_message"]  # the message again, with colours
LOGGERS = {
    "uvicorn": {"propagate": True},
    # The proxy logs each request and socket. Without one, in development, they are good to see.
    "uvicorn.access": {"propagate": contract.DEBUG},
    "uvicorn.error": {"propagate": True, "level": "INFO" if contract.DEBUG else "WARNING"},
}


def command() -> list[str]:
    """Return the command that serves the application."""
    if contract.BIND.startswith("unix:"):
        bind = {"uds": contract.BIND.removeprefix("unix:")}
    else:
        host, _, port = contract.BIND.rpartition(":")
        bind = {"host": host.strip("[]"), "port": port}
    options = {
        **bind,
        "workers": contract.WEB_CONCURRENCY,
        "timeout-keep-alive": contract.KEEPALIVE_TIMEOUT,
        "timeout-graceful-shutdown": contract.REQUEST_TIMEOUT,
        "ws": "serve.extras:Socket",
        "ws-max-size": contract.WS_MAX_MESSAGE_BYTES,
        "ws-ping-interval": contract.WS_PING_INTERVAL,
        "ws-ping-timeout": contract.WS_PING_TIMEOUT,
        # Compression doubles the memory of a socket, for messages that are mostly short.
        "ws-per-message-deflate": "false",
        "log-level": contract.LOG_LEVEL.lower(),
    }
    return [
        *(sys.executable, "-m", "serve.worker", "config.asgi:application"),
        *(f"--{name}={value}" for name, value in options.items()),
        "--access-log" if contract.DEBUG else "--no-access-log",
        *("--no-proxy-headers", "--no-server-header"),
        *contract.SERVER_ARGS,
    ]
