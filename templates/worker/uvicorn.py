"""uvicorn's own command line, with what it has no option for.

Its processes import this module each for itself, so that what is set here is set in all of them.
"""

import importlib
import logging.config
import sys

from uvicorn import main
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from config.logs import LOGGING
from serve import extras  # noqa: F401

original_run = Multiprocess.run


def supervise(parent: Multiprocess) -> None:
    """Run several processes, and fail if one of them cannot start."""
    original_run(parent)
    if any(process.exitcode == STARTUP_FAILURE for process in parent.processes):
        sys.exit(STARTUP_FAILURE)


# The command line takes it as a file only.
LOGGING_CONFIG.clear()
LOGGING_CONFIG.update(LOGGING)
Multiprocess.run = supervise

if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # One of several processes: with another status it would be started again and again.
    logging.config.dictConfig(LOGGING)
    try:
        importlib.import_module("config.asgi")
    except Exception:
        logging.getLogger("serve").critical("the application cannot be imported", exc_info=True)
        sys.exit(STARTUP_FAILURE)
