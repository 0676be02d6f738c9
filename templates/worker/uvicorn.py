"""uvicorn's command line, with what it has no option for.

Each of its processes imports this module, so what is set here is set in all of them.
"""

import sys

from django.conf import settings
from uvicorn import main
from uvicorn.config import LOGGING_CONFIG
from uvicorn.supervisors.multiprocess import Multiprocess

from serve import uvicorn_patches  # noqa: F401
from serve.worker_common import STARTUP_FAILURE, configure_logging, import_application

original_run = Multiprocess.run


def run(parent: Multiprocess) -> None:
    """Run several processes, and exit with STARTUP_FAILURE if one of them could not start.

    Symptom: uvicorn's parent stops when a process could not start, but its exit status is 0.
    https://github.com/Kludex/uvicorn/pull/3001
    """
    original_run(parent)
    if any(process.exitcode == STARTUP_FAILURE for process in parent.processes):
        sys.exit(STARTUP_FAILURE)


# The command line takes the configuration as a file only.
LOGGING_CONFIG.clear()
LOGGING_CONFIG.update(settings.LOGGING)
Multiprocess.run = run  # type: ignore[assignment, method-assign]

if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # One of several processes: with any other status its parent would start it again and again.
    configure_logging()
    import_application()
