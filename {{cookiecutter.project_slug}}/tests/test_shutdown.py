"""Graceful shutdown, and draining by hand."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.managed_socket import ManagedSocketMiddleware
from realtime.protocol import CloseCode
from serve import control, shutdown
from serve.shutdown import GracefulShutdownMiddleware
from tests.peers import DENIAL, Peer, hold, opened
from tests.websockets import PATIENCE, until


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for control sockets, with a path that is short enough for them."""
    with tempfile.TemporaryDirectory(prefix="serve-") as folder:
        yield Path(folder)


@pytest.fixture
def make(directory):
    """Make the middleware around managed sockets."""

    def graceful(application, drain_seconds: float = 0.01) -> GracefulShutdownMiddleware:
        managed = ManagedSocketMiddleware(application)
        return GracefulShutdownMiddleware(
            managed, drain_seconds=drain_seconds, control_dir=directory
        )

    return graceful


async def test_drain_before_stop(monkeypatch, make):
    """A stop asks all clients to reconnect, closes their sockets, then ends the server."""
    monkeypatch.setattr(shutdown, "SETTLE_SECONDS", 0.01)
    graceful = make(hold)
    (plain, first), (other, second) = [await opened(graceful, wanted=name) for name in (None, "v2")]
    stopped = []
    await graceful.stop(lambda: stopped.append(len(graceful.state.sockets)))
    await asyncio.gather(first, second)
    assert stopped == [0]
    assert json.loads(plain.sent[1]["text"])["type"] == "reconnect"
    assert plain.sent[2]["code"] == other.sent[1]["code"] == CloseCode.RECONNECT


async def test_drain_during_accept(make):
    """A socket that is accepted during a drain is closed with 4000 at once."""

    async def late(scope, receive, send) -> None:
        await accept.wait()
        await hold(scope, receive, send)

    accept = asyncio.Event()
    graceful = make(late, drain_seconds=0)
    peer, running = await opened(graceful)
    drain = asyncio.create_task(graceful.drain())
    await until(lambda: graceful.state.active)
    await asyncio.sleep(0)
    accept.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(drain, running)
    assert peer.sent[-1]["code"] == CloseCode.RECONNECT


async def test_connect_during_drain(make):
    """A draining process answers new sockets with 503."""
    graceful = make(hold)
    graceful.state.active = True
    peer = Peer()
    peer.events.put_nowait({"type": "websocket.connect"})
    await graceful(DENIAL, peer.receive, peer.send)
    assert peer.sent[0]["status"] == 503


async def test_response_during_drain(directory):
    """A response of a draining process closes its connection."""

    async def answer(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    graceful = GracefulShutdownMiddleware(answer, drain_seconds=0, control_dir=directory)
    for active in (False, True):
        graceful.state.active = active
        peer = Peer()
        await graceful({"type": "http"}, peer.receive, peer.send)
        assert ((b"connection", b"close") in peer.sent[0]["headers"]) is active


async def test_manual_drain(make, directory):
    """A manual drain closes the sockets and can be undone."""
    graceful = make(hold)
    server = Peer()
    serving = asyncio.create_task(graceful({"type": "lifespan"}, server.receive, server.send))
    server.events.put_nowait({"type": "lifespan.startup"})
    await until(lambda: server.sent)
    peer, running = await opened(graceful)
    assert await asyncio.to_thread(control.drain, directory, PATIENCE) == 0
    await running
    assert peer.sent[-1]["code"] == CloseCode.RECONNECT
    assert graceful.state.active
    await asyncio.to_thread(control.resume, directory, PATIENCE)
    await until(lambda: not graceful.state.active)
    server.events.put_nowait({"type": "lifespan.shutdown"})
    await serving
    assert not list(directory.glob("*.sock"))


async def test_start_during_manual_drain(make, directory):
    """A process that starts while its container is drained drains itself."""
    (directory / control.MARKER).touch()
    graceful = make(hold)
    server = Peer()
    serving = asyncio.create_task(graceful({"type": "lifespan"}, server.receive, server.send))
    server.events.put_nowait({"type": "lifespan.startup"})
    await until(lambda: graceful.state.active)
    server.events.put_nowait({"type": "lifespan.shutdown"})
    await serving


def test_drain_without_server(directory):
    """Draining fails if no process listens; the socket of a killed process is removed."""
    stale = directory / "1.sock"
    with control.socket.socket(control.socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    with pytest.raises(ConnectionRefusedError, match="no server process"):
        control.drain(directory, timeout=1)
    assert not stale.exists()
    control.resume(directory, timeout=1)
    assert not (directory / control.MARKER).exists()
