"""The installed server, started as in production: an update that breaks a patch fails here."""

import base64
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from serve.healthcheck import get
from serve.shutdown import SETTLE_SECONDS
from serve.versions import UntestedVersionError, require_versions

BASE_DIR = Path(__file__).parent.parent
# Seconds for whatever should happen at once.
TIMEOUT = 20
MAX_MESSAGE_BYTES = 1000
# https://www.rfc-editor.org/rfc/rfc6455#section-5.2
FIN, TEXT, CLOSE, MASKED = 0x80, 0x1, 0x8, 0x80


def free_port() -> int:
    """Return a free port outside the range that the kernel gives to clients."""
    while True:
        port = random.randrange(20_000, 30_000)  # noqa: S311
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)):
                return port


def start(module: str, folder: Path, **environment: str) -> tuple[subprocess.Popen, str]:
    """Start a server on a free port, without Redis. Return its process and its address."""
    bind = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=BASE_DIR,
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "config.settings", "BIND": bind, "TMPDIR": str(folder)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a failed test can kill the processes of a parent
    )
    return process, bind


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The ASGI server, when it answers: its process and its address."""
    process, bind = start("serve", tmp_path, WS_MAX_MESSAGE_BYTES=str(MAX_MESSAGE_BYTES))
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                assert " 200 " in get(bind, "/livez").splitlines()[0]
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.05)
        yield process, bind
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class RawWebSocket:
    """A WebSocket by hand: a client library would hide how the server closes it."""

    def __init__(self, bind: str) -> None:
        host, _, port = bind.rpartition(":")
        self.connection = socket.create_connection((host, int(port)), TIMEOUT)
        self.stream = self.connection.makefile("rb")
        self.connection.sendall(
            b"GET /ws/echo/ HTTP/1.1\r\nHost: testserver\r\nOrigin: http://testserver\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
        )
        assert b" 101 " in self.stream.readline()
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, payload: bytes) -> None:
        """Send a text message, masked with zeros."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", FIN | TEXT, MASKED | size)
        else:
            head = struct.pack("!BBH", FIN | TEXT, MASKED | 126, size)
        self.connection.sendall(head + bytes(4) + payload)

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame."""
        first, length = self.stream.read(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.stream.read(2))
        return first & 0x0F, self.stream.read(length)

    def receive_close(self) -> int:
        """Return the code of the close frame; pass over other frames."""
        while (frame := self.receive())[0] != CLOSE:
            pass
        return int.from_bytes(frame[1][:2])

    def close(self) -> None:
        self.stream.close()
        self.connection.close()


def test_websocket_of_a_running_server(server):
    """The server echoes, closes with 1009 for a large message, and drains with 4000 on SIGTERM."""
    process, bind = server
    with closing(RawWebSocket(bind)) as websocket, closing(RawWebSocket(bind)) as too_large:
        websocket.send(b"hello")
        assert websocket.receive() == (TEXT, b"hello")
        too_large.send(bytes(MAX_MESSAGE_BYTES + 1))
        assert too_large.receive_close() == 1009
        signalled = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert websocket.receive_close() == 4000
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output + errors
    assert time.monotonic() - signalled > SETTLE_SECONDS  # the drain comes before the server's stop


def test_untested_version():
    """A version that the patches were not tested with is an error that names the remedy."""
    require_versions({"django": ("5.2", "99")})
    for tested in (("98", "99"), ("1", "5.2")):
        with pytest.raises(UntestedVersionError, match=r"django [\d.]+ .*>=\d+,<.*Install"):
            require_versions({"django": tested})
