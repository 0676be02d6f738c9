"""Control sockets: Unix sockets by which `manage.py drain` commands the processes of a container.

POSIX signals do not suffice: process managers use SIGUSR1 and SIGUSR2 themselves, a process id may
be reused by another process, and the caller needs a response.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread

logger = logging.getLogger(__name__)

# This file exists while the processes are drained. A process that starts meanwhile drains, too.
MARKER = "draining"


class ControlServer:
    """Executes the commands that arrive on a Unix socket, in a thread.

    Args:
        directory: the directory of the control sockets.
        drain: drains this process, and returns the number of WebSockets that are still open.
        resume: ends the drain.
    """

    def __init__(
        self, directory: Path, *, drain: Callable[[], int], resume: Callable[[], None]
    ) -> None:
        self.directory = directory
        self.path = directory / f"{os.getpid()}.sock"
        self.drain = drain
        self.resume = resume

    def start(self) -> None:
        """Start to listen. A failure is only logged, because it affects `manage.py drain` only."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # of a process that was killed
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.path))
            listener.listen()
        except OSError as error:
            logger.warning("control socket failed, `manage.py drain` is unavailable: %s", error)
            return
        Thread(target=self.run, args=[listener], name="control", daemon=True).start()

    def stop(self) -> None:
        """Remove the control socket."""
        self.path.unlink(missing_ok=True)

    def run(self, listener: socket.socket) -> None:
        """Drain if MARKER exists, then execute commands, one at a time."""
        if (self.directory / MARKER).exists():
            self.drain()
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the caller may have given up
                match connection.recv(64):
                    case b"drain\n":
                        connection.sendall(b"%d\n" % self.drain())
                    case b"resume\n":
                        self.resume()
                        connection.sendall(b"0\n")


def drain(directory: Path, timeout: float) -> int:
    """Drain all processes. Returns the number of WebSockets that are still open.

    Raises:
        OSError: no process listens, or one does not answer in time.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / MARKER).touch()
    return command(directory, "drain", timeout)


def resume(directory: Path, timeout: float) -> None:
    """End the drain of all processes. Raises OSError if one does not answer in time."""
    clear(directory)
    with suppress(ConnectionRefusedError):  # without a process, the drain is over
        command(directory, "resume", timeout)


def clear(directory: Path) -> None:
    """Remove MARKER, so that processes that start from now on accept WebSockets."""
    (directory / MARKER).unlink(missing_ok=True)


def command(directory: Path, name: str, timeout: float) -> int:
    """Send a command to all processes at the same time, and return the sum of their answers.

    Raises:
        OSError: no process listens, or one does not answer in time.
    """
    with ExitStack() as stack:
        connections = []
        for path in directory.glob("*.sock"):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(timeout)
            try:
                connection.connect(str(path))
            except FileNotFoundError:  # the process has just ended
                continue
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)  # of a process that was killed
                continue
            connection.sendall(f"{name}\n".encode())
            connections.append(connection)
        if not connections:
            raise ConnectionRefusedError(f"no server process listens in {directory}")
        return sum(map(answer, connections))


def answer(connection: socket.socket) -> int:
    """Return the answer to a command; 0 if the process has ended meanwhile."""
    try:
        return int(connection.recv(64) or 0)
    except ConnectionResetError:
        return 0
