"""Check the settings, then become the server."""

import argparse
import logging
import os
import resource
import shlex
import socket
import sys
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from watchfiles import PythonFilter, run_process

from serve import conf, control
from serve.versions import Ranges, UntestedVersionError, require_versions
from serve.worker_common import configure_logging

logger = logging.getLogger("serve")


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one: each connection takes one file.

    Returns:
        The limit from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports no hard limit, and refuses to set none
        return soft
    return hard


def claim(path: str) -> None:
    """Remove the socket file that a killed server left behind.

    Raises:
        SystemExit: a server listens there. The message says so.
    """
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
    sys.exit(f"BIND: another server listens at {path}.")


def start(
    module: str, name: str, tested: Ranges, command: Callable[[conf.ServeSettings], list[str]]
) -> None:
    """Run the server's command line. Exit with status 1 and a line for each setting that is wrong.

    Args:
        module: the module that `python -m` runs.
        name: the server's name.
        tested: the ranges of versions that the patches were tested with.
        command: returns the command line for the settings.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("--reload", action="store_true", help="restart when the source changes")
    parser.add_argument("--print", action="store_true", help="show the command, run nothing")
    options = parser.parse_args()

    # As manage.py does. The started command inherits it.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        settings = conf.settings()
        require_versions(tested)
    except (ImproperlyConfigured, UntestedVersionError) as error:
        sys.exit(str(error))
    if settings.CONFLICTS:
        sys.exit("\n".join(settings.CONFLICTS))
    words = command(settings)
    if options.print:
        print(shlex.join(words))
        return

    configure_logging()
    control.clear(settings.CONTROL_DIR)
    if settings.BIND.startswith("unix:"):
        claim(settings.BIND.removeprefix("unix:"))
    files = raise_file_limit()
    logger.info("%s at %s, up to %d open files", name, settings.BIND, files)
    if options.reload:
        run_process(
            settings.BASE_DIR,
            target=shlex.join(words),
            target_type="command",
            watch_filter=PythonFilter(),
            ignore_permission_denied=True,  # secrets/ may belong to another user in a container
        )
    else:
        os.execv(words[0], words)  # noqa: S606
