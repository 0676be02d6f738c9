"""gunicorn with uvicorn's worker: the contract as its command line.

https://docs.gunicorn.org/en/stable/settings.html, https://uvicorn.dev/settings/
"""

import logging.config
import signal
import sys

from gunicorn import glogging
from uvicorn_worker import UvicornWorker

from config import contract

NAME = "gunicorn"
LOG_EXTRAS = ["color_message"]  # the message again, with colours
LOGGERS = {
    "gunicorn.error": {"propagate": True},
    # The proxy logs each request and socket. Without one, in development, they are good to see.
    "uvicorn.access": {"propagate": contract.DEBUG},
    "uvicorn.error": {"propagate": True, "level": "INFO" if contract.DEBUG else "WARNING"},
}


class Worker(UvicornWorker):
    """Has the settings that gunicorn has no option for."""

    CONFIG_KWARGS = {
        "server_header": False,
        "timeout_graceful_shutdown": contract.REQUEST_TIMEOUT,
        "ws_max_size": contract.WS_MAX_MESSAGE_BYTES,
        "ws_ping_interval": contract.WS_PING_INTERVAL,
        "ws_ping_timeout": contract.WS_PING_TIMEOUT,
        # Compression doubles the memory of a socket, for messages that are mostly short.
        "ws_per_message_deflate": False,
    }

    def handle_exit(self, sig, frame) -> None:
        """Stop on SIGQUIT, too, which uvicorn does not know; gunicorn sends it on Ctrl-C."""
        signal.raise_signal(signal.SIGTERM)


class Logger(glogging.Logger):
    """Logs as the application does."""

    def setup(self, cfg) -> None:
        from config.logs import LOGGING  # which takes LOGGERS from here

        logging.config.dictConfig(LOGGING)


def command() -> list[str]:
    """Return the command that serves the application."""
    options = {
        "worker-class": f"{__name__}.Worker",
        "logger-class": f"{__name__}.Logger",
        "bind": contract.BIND,
        "workers": contract.WEB_CONCURRENCY,
        "keep-alive": contract.KEEPALIVE_TIMEOUT,
        # Later than the worker's own, which closes its sockets instead of being killed.
        "graceful-timeout": contract.REQUEST_TIMEOUT + 1,
        "forwarded-allow-ips": ",".join(contract.TRUSTED_PROXIES),
        "max-requests": contract.MAX_REQUESTS,
        "max-requests-jitter": contract.MAX_REQUESTS // 10,
        # https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
        "worker-tmp-dir": "/dev/shm",
    }
    return [
        *(sys.executable, "-m", "gunicorn", "config.asgi:application"),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-control-socket",
    ]
