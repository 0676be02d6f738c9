"""Ask this container's own server whether it lives: `python -m serve.probe`, for health checks.

Runs every few seconds, so it imports nothing that it can do without.
"""

import os
import socket
import sys


def ask(bind: str, path: str, timeout: float = 3) -> str:
    """Return the response to a GET, from its status line to its end.

    Args:
        bind: where the server listens, `host:port` or `unix:/path`.
        path: what to get.
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
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return connection.makefile("rb").read().decode()


if __name__ == "__main__":
    status, *_ = ask(os.environ.get("BIND", "0.0.0.0:8000"), "/livez").splitlines() or [""]
    sys.exit(None if " 200 " in f"{status} " else status)  # not all servers say OK
