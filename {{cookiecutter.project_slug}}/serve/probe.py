"""Ask this container's own server whether it lives: `python -m serve.probe`, for health checks.

Runs every few seconds, so it imports nothing that it can do without.
"""

import os
import socket
import sys


def livez(bind: str, timeout: float = 3) -> str:
    """Return the status line of GET /livez.

    Args:
        bind: where the server listens, `host:port` or `unix:/path`.
        timeout: seconds for the answer.

    Raises:
        OSError: nothing listens there, or it does not answer in time.
    """
    if bind.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(bind.removeprefix("unix:"))
    else:
        host, _, port = bind.rpartition(":")
        local = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
        connection = socket.create_connection((local, int(port)), timeout)
    with connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").readline().decode().strip()


if __name__ == "__main__":
    answer = livez(os.environ.get("BIND", "0.0.0.0:8000"))
    sys.exit(None if " 200 " in f"{answer} " else answer)  # not all servers say OK
