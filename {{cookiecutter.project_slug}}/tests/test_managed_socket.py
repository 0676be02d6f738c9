"""Managed sockets: message rates, send timeouts, maximum age."""

import asyncio

from realtime import managed_socket
from realtime.managed_socket import ManagedSocketMiddleware
from realtime.protocol import MESSAGE_RATE_REASON, CloseCode
from tests.peers import Peer, hold, opened
from tests.websockets import PATIENCE, until


async def echo(scope, receive, send) -> None:
    """Accept, then return each message, until the disconnect."""
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_max_age(realtime):
    """A socket older than WS_MAX_AGE is closed with 4000."""
    realtime(MAX_AGE=0.05)
    peer, running = await opened(ManagedSocketMiddleware(hold))
    async with asyncio.timeout(PATIENCE):
        await running
    assert peer.sent[-1]["code"] == CloseCode.RECONNECT


async def test_send_timeout(realtime):
    """After WS_SEND_TIMEOUT, the application gets a disconnect and the peer is closed with 4408."""

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
    realtime(SEND_TIMEOUT=0.02)
    running = asyncio.create_task(
        ManagedSocketMiddleware(talk)({"type": "websocket"}, Peer().receive, send)
    )
    await until(lambda: told)
    assert told == [{"type": "websocket.disconnect", "code": CloseCode.TOO_SLOW, "reason": None}]
    assert not running.done()  # the close is not sent yet
    reading.set()
    await running
    assert sent[-1]["code"] == CloseCode.TOO_SLOW


async def test_message_rate(monkeypatch, realtime):
    """A client that exceeds WS_MESSAGE_RATE is closed with 4429."""
    # So low that the allowance does not refill during the test.
    realtime(MESSAGE_RATE=0.01)
    monkeypatch.setattr(managed_socket, "BURST_SECONDS", 1000)
    peer, running = await opened(ManagedSocketMiddleware(echo))
    for _ in range(11):
        peer.events.put_nowait({"type": "websocket.receive", "text": "hello"})
    async with asyncio.timeout(PATIENCE):
        await running
    assert [message["type"] for message in peer.sent[1:-1]] == ["websocket.send"] * 10
    assert peer.sent[-1]["code"] == CloseCode.LIMIT_EXCEEDED
    assert peer.sent[-1]["reason"] == MESSAGE_RATE_REASON


async def test_message_rate_refill(monkeypatch, realtime):
    """A client's message allowance refills while the client is idle."""
    realtime(MESSAGE_RATE=50)
    monkeypatch.setattr(managed_socket, "BURST_SECONDS", 2)
    peer, running = await opened(ManagedSocketMiddleware(echo))
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


async def test_send_after_close():
    """Messages after the close are dropped."""

    async def talk(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4404})
        await send({"type": "websocket.send", "text": "too late"})

    peer = Peer()
    await ManagedSocketMiddleware(talk)({"type": "websocket"}, peer.receive, peer.send)
    assert [message["type"] for message in peer.sent] == ["websocket.accept", "websocket.close"]


async def test_send_to_disconnected_peer():
    """Sending to a disconnected peer does not end the consumer."""

    async def talk(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        left.append(True)

    async def broken(message: dict) -> None:
        raise BrokenPipeError

    left: list[bool] = []
    await ManagedSocketMiddleware(talk)({"type": "websocket"}, Peer().receive, broken)
    assert left


async def test_abort_once(realtime):
    """A socket is closed once, even if several sends time out at the same moment."""

    async def talk(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        messages = [send({"type": "websocket.send", "text": "long"}) for _ in range(5)]
        await asyncio.gather(receive(), *messages)

    async def send(message: dict) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    sent: list[str] = []
    realtime(SEND_TIMEOUT=0.02)
    async with asyncio.timeout(PATIENCE):
        await ManagedSocketMiddleware(talk)({"type": "websocket"}, Peer().receive, send)
    assert sent.count("websocket.close") == 1
