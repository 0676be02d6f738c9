"""What gunicorn runs: uvicorn's worker, and the logs. https://uvicorn.dev/settings/"""

import logging.config
import signal
from contextlib import suppress

from gunicorn import glogging
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from uvicorn_worker import UvicornWorker

from config import contract
from config.logs import LOGGING
from serve import extras  # noqa: F401


class Worker(UvicornWorker):
    """Has the settings that gunicorn has no option for."""

    CONFIG_KWARGS = {
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": contract.REQUEST_TIMEOUT,
        "ws": "serve.extras:Socket",
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
        logging.config.dictConfig(LOGGING)


{% include "gunicorn/stop.py" %}
