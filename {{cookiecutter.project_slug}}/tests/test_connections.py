"""Who comes in, and how all leave."""

import asyncio
import json
import signal

from config import contract
from realtime import connections
from realtime.connections import Connections
from realtime.consumers import CloseCode
from tests.sockets import PATIENCE, until

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


async def echo(scope, receive, send) -> None:
    """Accept, then send back what comes, until the disconnect."""
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})


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
    await limited.stop(lambda: stopped.append(limited.under_way))
    await asyncio.gather(first, second)
    assert stopped == [0]
    assert json.loads(plain.sent[1]["text"])["type"] == "reconnect"
    assert plain.sent[2]["code"] == other.sent[1]["code"] == CloseCode.RECONNECT


async def test_a_socket_that_is_just_being_accepted_is_sent_away_when_it_is(monkeypatch):
    async def late(scope, receive, send) -> None:
        await accept.wait()
        await stay(scope, receive, send)

    accept = asyncio.Event()
    limited = Connections(late)
    peer, running = await opened(limited)
    monkeypatch.setattr(contract, "DRAIN_SECONDS", 0)
    drain = asyncio.create_task(limited.drain())
    await asyncio.sleep(0.01)
    accept.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(drain, running)
    assert peer.sent[-1]["code"] == CloseCode.RECONNECT


async def test_a_socket_that_is_too_old_is_sent_away(monkeypatch):
    monkeypatch.setattr(contract, "WS_MAX_AGE", 0.05)
    peer, running = await opened(Connections(stay))
    async with asyncio.timeout(PATIENCE):
        await running
    assert peer.sent[-1]["code"] == CloseCode.RECONNECT


async def test_a_peer_that_does_not_read_is_given_up_and_the_application_told(monkeypatch):
    async def talk(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        talking = asyncio.create_task(send({"type": "websocket.send", "text": "long"}))
        told.append(await receive())
        await talking

    async def send(message: dict) -> None:
        if message["type"] != "websocket.accept":
            await reading.wait()
        sent.append(message)

    told: list[dict] = []
    sent: list[dict] = []
    reading = asyncio.Event()
    monkeypatch.setattr(contract, "WS_SEND_TIMEOUT", 0.02)
    running = asyncio.create_task(Connections(talk)({"type": "websocket"}, Peer().receive, send))
    await until(lambda: told)
    assert told == [{"type": "websocket.disconnect", "code": CloseCode.TOO_SLOW}]
    assert not running.done()  # the close is to be sent yet
    reading.set()
    await running
    assert sent[-1]["code"] == CloseCode.TOO_SLOW


async def test_who_sends_too_much_is_closed(monkeypatch):
    # None more is saved up meanwhile.
    monkeypatch.setattr(contract, "WS_MESSAGE_RATE", 0.01)
    monkeypatch.setattr(connections, "BURST", 1000)
    peer, running = await opened(Connections(echo))
    for _ in range(11):
        peer.events.put_nowait({"type": "websocket.receive", "text": "hello"})
    async with asyncio.timeout(PATIENCE):
        await running
    assert [message["type"] for message in peer.sent[1:-1]] == ["websocket.send"] * 10
    assert peer.sent[-1]["code"] == CloseCode.TOO_MANY


async def test_who_has_sent_much_may_send_more_after_a_while(monkeypatch):
    monkeypatch.setattr(contract, "WS_MESSAGE_RATE", 50)
    monkeypatch.setattr(connections, "BURST", 2)
    peer, running = await opened(Connections(echo))
    hello = {"type": "websocket.receive", "text": "hello"}
    for _ in range(99):
        peer.events.put_nowait(hello)
    await until(lambda: len(peer.sent) == 1 + 99)
    await asyncio.sleep(0.1)
    for _ in range(3):
        peer.events.put_nowait(hello)
    await until(lambda: len(peer.sent) == 1 + 102)
    assert [message["type"] for message in peer.sent[1:]] == ["websocket.send"] * 102
    running.cancel()


async def test_nothing_is_sent_to_a_socket_that_was_closed():
    async def talk(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4404})
        await send({"type": "websocket.send", "text": "too late"})

    peer = Peer()
    await Connections(talk)({"type": "websocket"}, peer.receive, peer.send)
    assert [message["type"] for message in peer.sent] == ["websocket.accept", "websocket.close"]


async def test_a_drain_by_hand_can_be_undone(monkeypatch, tmp_path):
    monkeypatch.setattr(contract, "DRAIN_FILE", tmp_path / "drain")
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.01)
    limited = Connections(stay)
    watching = asyncio.create_task(limited.drain_by_hand())
    peer, running = await opened(limited)
    contract.DRAIN_FILE.touch()
    await running
    assert limited.draining
    contract.DRAIN_FILE.unlink()
    await until(lambda: not limited.draining)
    watching.cancel()


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
        if limited.requests_left == 0:
            await limited.recycling
            break
    assert raised == [signal.SIGTERM]
