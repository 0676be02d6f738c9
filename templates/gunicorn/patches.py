"""What gunicorn lacks, whatever its workers serve. Importing this module patches its master.

The modules that import this one check gunicorn's version (TESTED_VERSIONS).
"""

from contextlib import suppress

from gunicorn import glogging  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]

from serve.worker_common import configure_logging


class PatchedLogger(glogging.Logger):  # type: ignore[misc]
    """Log as Django's `LOGGING` says, instead of by handlers of gunicorn's own."""

    def setup(self, cfg: Config) -> None:
        configure_logging()
        self.error_log.propagate = self.access_log.propagate = True


original_stop = Arbiter.stop


def stop(arbiter: Arbiter, graceful: bool = True) -> None:
    """Stop all processes, even if several could not start.

    Symptom: the first one that could not start stops gunicorn, and the next one found meanwhile
    ends it with a traceback of HaltServer, before the others have stopped.
    https://github.com/benoitc/gunicorn/issues/366
    """
    while True:
        with suppress(HaltServer):  # it is logged already
            original_stop(arbiter, graceful)
            return


Arbiter.stop = stop
