"""Check that this container's server answers /livez: `python -m serve.healthcheck`.

Health checks run it every few seconds, so it imports nothing outside the standard library.
"""

import os
import socket
import sys


def get(bind: str, path: str, timeout: float = 3) -> str:
    """Return the response to a GET, from the status line to the end of the body.

    Args:
        bind: the server's address, `host:port` or `unix:/path`.
        path: the path to request.
        timeout: seconds for the response.

    Raises:
        OSError: no server listens there, or it does not answer in time.
    """
    if bind.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(bind.removeprefix("unix:"))
    else:
        host, _, port = bind.rpartition(":")
        local = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104
        connection = socket.create_connection((local, int(port)), timeout)
    with connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return connection.makefile("rb").read().decode()


if __name__ == "__main__":
    status, *_ = get(os.environ.get("BIND", "0.0.0.0:8000"), "/livez").splitlines() or [""]
    sys.exit(None if " 200 " in f"{status} " else status)  # some servers leave out the "OK"
