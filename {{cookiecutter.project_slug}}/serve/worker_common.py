"""What the modules that run in the servers' processes have in common."""

import importlib
import logging.config
import sys

from django.conf import settings

from serve import conf

logger = logging.getLogger("serve")

# Between accepting a connection and receiving the first byte of its request, with time to spare.
IN_FLIGHT_SECONDS = 0.5
# The exit status of a process that could not import the application: another start would fail too.
STARTUP_FAILURE = 3


def configure_logging() -> None:
    """Log as Django's `LOGGING` says, before `django.setup()` is called, and without it."""
    logging.config.dictConfig(settings.LOGGING)


def import_application() -> None:
    """Import the ASGI application. Log why and exit with STARTUP_FAILURE if that fails."""
    module, _, _ = conf.settings().ASGI_APPLICATION.partition(":")
    try:
        importlib.import_module(module)
    except Exception:
        logger.critical("the application cannot be imported", exc_info=True)
        sys.exit(STARTUP_FAILURE)
