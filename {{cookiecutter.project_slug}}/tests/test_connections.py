"""Who comes in, and how all leave."""

import asyncio
import json
import signal

from config import contract
from realtime import connections
from realtime.connections import Connections
from realtime.consumers import CloseCode

DENIAL = {"type": "websocket", "extensions": {"websocket.http.response": {}}}


class Peer:
    """What a server hands to the application for one connection, and what it gets back."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.events: asyncio.Queue = asyncio.Queue()

    async def receive(self) -> dict:
        return await self.events.get()

    async def send(self, message: dict) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.events.put_nowait({"type": "websocket.disconnect", "code": message["code"]})


async def stay(scope, receive, send) -> None:
    """Accept, then wait for the disconnect: as a consumer does."""
    await send({"type": "websocket.accept", "subprotocol": scope.get("wanted")})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def opened(limited: Connections, **scope: object) -> tuple[Peer, asyncio.Task]:
    """Open a socket."""
    peer = Peer()
    scope |= {"type": "websocket"}
    task = asyncio.create_task(limited(scope, peer.receive, peer.send))
    await asyncio.sleep(0)
    return peer, task


async def test_one_over_the_limit_is_told_to_come_back_later():
    limited = Connections(stay, most=1)
    _, held = await opened(limited)
    for scope in ({"type": "http"}, DENIAL):
        peer = Peer()
        peer.events.put_nowait({"type": "websocket.connect"})
        await limited(scope, peer.receive, peer.send)
        assert peer.sent[0]["status"] == 503
        assert (b"retry-after", b"5") in peer.sent[0]["headers"]
    held.cancel()
    await asyncio.wait([held])
    assert limited.under_way == 0


async def test_the_drain_sends_sockets_away_and_then_stops_the_server(monkeypatch):
    monkeypatch.setattr(connections, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(contract, "DRAIN_SECONDS", 0.01)
    limited = Connections(stay)
    (plain, first), (other, second) = [await opened(limited, wanted=name) for name in (None, "v2")]
    stopped = []
    await limited.drain(lambda: stopped.append(limited.under_way))
    await asyncio.gather(first, second)
    assert stopped == [0]
    assert json.loads(plain.sent[1]["text"])["type"] == "reconnect"
    assert plain.sent[2]["code"] == other.sent[1]["code"] == CloseCode.RECONNECT


async def test_no_socket_comes_in_while_it_drains():
    limited = Connections(stay)
    limited.draining = True
    peer = Peer()
    peer.events.put_nowait({"type": "websocket.connect"})
    await limited(DENIAL, peer.receive, peer.send)
    assert peer.sent[0]["status"] == 503


async def test_what_is_sent_to_a_peer_that_has_gone_does_not_end_the_consumer():
    async def talk(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "anybody?"})
        left.append(True)

    async def broken(message: dict) -> None:
        raise BrokenPipeError

    left: list[bool] = []
    await Connections(talk)({"type": "websocket"}, Peer().receive, broken)
    assert left


async def test_a_process_ends_after_its_last_request(monkeypatch):
    async def answer(scope, receive, send):
        pass

    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    limited = Connections(answer, requests=2)
    for _ in range(3):
        assert raised == []
        await limited({"type": "http"}, None, None)
        await asyncio.sleep(0)
        if limited.left == 0:
            await limited.recycling
            break
    assert raised == [signal.SIGTERM]
