"""The connection limit, and recycling of processes."""

import asyncio
import signal

import pytest

from serve import recycling
from serve.limits import ConnectionLimitMiddleware
from serve.recycling import RecyclingMiddleware
from tests.peers import DENIAL, Peer, hold, opened


async def test_connection_limit():
    """A connection over the limit is answered with 503 and Retry-After."""
    limited = ConnectionLimitMiddleware(hold, max_connections=1)
    _, held = await opened(limited)
    for scope in ({"type": "http"}, DENIAL):
        peer = Peer()
        peer.events.put_nowait({"type": "websocket.connect"})
        await limited(scope, peer.receive, peer.send)
        assert peer.sent[0]["status"] == 503
        assert (b"retry-after", b"5") in peer.sent[0]["headers"]
    held.cancel()
    await asyncio.wait([held])
    assert limited.open == 0


@pytest.mark.parametrize("turns", [[True], [False, False, True]], ids=["at once", "in turn"])
async def test_max_requests(monkeypatch, turns):
    """After MAX_REQUESTS requests a process sends itself SIGTERM, as soon as it is its turn."""

    async def answer(scope, receive, send):
        pass

    async def may_recycle() -> bool:
        return turns.pop(0)

    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(recycling, "RETRY_SECONDS", 0.01)
    recycled = RecyclingMiddleware(answer, max_requests=2, may_recycle=may_recycle)
    for _ in range(3):
        assert raised == []
        await recycled({"type": "http"}, None, None)
        if recycled.recycling:
            await recycled.recycling
            break
    assert raised == [signal.SIGTERM]
    assert turns == []
