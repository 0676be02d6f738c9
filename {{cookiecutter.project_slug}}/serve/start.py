"""Check the contract, then become a server."""

import argparse
import logging.config
import os
import resource
import shlex
import socket
import sys
from collections.abc import Callable

from watchfiles import PythonFilter, run_process

from config import contract
from config.logs import LOGGING

logger = logging.getLogger("serve")


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one. Each socket takes one.

    Returns:
        How many there may be now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says that there is no limit, and refuses that
        return soft
    return hard


def claim(path: str) -> None:
    """Remove the socket file that a server left behind when it was killed.

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


def start(module: str, name: str, command: Callable[[], list[str]]) -> None:
    """Run the command line. Exits with status 1 and a line for each variable that is wrong.

    Args:
        module: what `python -m` was told to run.
        name: the server's.
        command: returns what starts it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("--reload", action="store_true", help="restart when the source changes")
    parser.add_argument("--print", action="store_true", help="show the command, run nothing")
    options = parser.parse_args()

    if conflicts := contract.conflicts():
        sys.exit("\n".join(conflicts))
    words = command()
    if options.print:
        print(shlex.join(words))
        return

    logging.config.dictConfig(LOGGING)
    contract.DRAIN_FILE.unlink(missing_ok=True)
    if contract.BIND.startswith("unix:"):
        claim(contract.BIND.removeprefix("unix:"))
    files = raise_file_limit()
    logger.info("%s at %s, up to %d open files", name, contract.BIND, files)
    if options.reload:
        run_process(
            contract.BASE_DIR,
            target=shlex.join(words),
            target_type="command",
            watch_filter=PythonFilter(),
            ignore_permission_denied=True,  # of secrets/, which in a container is somebody else's
        )
    else:
        os.execv(words[0], words)
