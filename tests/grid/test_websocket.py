"""WebSockets through nginx."""

import asyncio
import json
import re
import socket as sockets
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from websockets import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.stack import Room, Stack, eventually, execute, run


@pytest.mark.parametrize(
    "message", ["hello", "", b"\x00\xff", b"", "é" * 2**19], ids=lambda m: f"{type(m)}{len(m)}"
)
def test_echo(stack: Stack, message):
    """Text and binary messages from 0 bytes to 1 MiB are echoed unchanged."""
    with stack.socket("/ws/echo/") as socket:
        socket.send(message)
        assert socket.recv(timeout=20) == message


def test_fragments(stack):
    """A fragmented message arrives whole; a ping between its fragments is answered."""
    with stack.socket("/ws/echo/") as socket:
        with socket.send_context():
            socket.protocol.send_text(b"Hello ", fin=False)
        assert socket.ping().wait(timeout=20)
        with socket.send_context():
            socket.protocol.send_continuation(b"world", fin=True)
        assert socket.recv(timeout=20) == "Hello world"


def closed(socket: ClientConnection) -> tuple[int, str]:
    """Wait until the server closes a socket, and return its code and reason."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=20)
    assert closed.value.rcvd, "the connection was cut without a close frame"
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_message_over_limit(stack):
    """A message over WS_MAX_MESSAGE_BYTES closes the socket with 1009."""

    async def close_code(message: str | bytes) -> int:
        # The synchronous client does not read the close frame while it sends.
        async with stack.async_socket("/ws/echo/", open_timeout=20) as socket:
            with suppress(ConnectionClosed):  # before the last bytes are sent
                await socket.send(message)
            await asyncio.wait_for(socket.wait_closed(), 20)
        return socket.close_code  # 1006: cut, without a close frame

    for message in (b"x" * (1024**2 + 1), b"x" * 4 * 1024**2, "x" * 2 * 1024**2):
        assert run(close_code(message)) == 1009


def test_invalid_utf_8(stack):
    """Text that is not valid UTF-8 closes the socket with 1007."""
    with stack.socket("/ws/echo/") as socket:
        with socket.send_context():
            socket.protocol.send_text(b"\xc3\x28", fin=True)
        assert closed(socket)[0] == 1007


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_origin(stack, origin):
    """Handshakes from another origin, or without an Origin header, are refused with 403."""
    with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/", origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_refused_handshake(stack):
    """A consumer can refuse the handshake; the client receives 403."""
    with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/extra/refuse/"):
        pass
    assert refused.value.response.status_code == 403


def test_authenticated_user(stack):
    """A logged-in user is authenticated on the WebSocket, too."""
    with stack.room("lobby", stack.browser("ada")) as room:
        room.say("it is me")
        assert room.receive() == ("ada", "it is me")


def test_anonymous_user(stack):
    """An anonymous user's socket is accepted and closed with 4401, which a browser can read."""
    with stack.socket("/ws/rooms/lobby/") as socket:
        assert closed(socket)[0] == 4401


def test_unknown_path(stack):
    """A WebSocket at an unknown path is accepted and closed with 4404, which a browser can read."""
    with stack.socket("/ws/nowhere/") as socket:
        assert closed(socket)[0] == 4404


def test_subprotocol(stack):
    """A subprotocol is negotiated."""
    path = "/ws/extra/subprotocol/"
    with stack.socket(path, subprotocols=["chat.v1", "chat.v2"]) as socket:
        assert socket.subprotocol == "chat.v2"
    with stack.socket(path) as socket:
        assert socket.subprotocol is None


@pytest.mark.parametrize("code", [1000, 3000, 4000, 4499, 4999])
def test_close_codes(stack, code):
    """Close codes of the application arrive with their reason."""
    with stack.socket("/ws/extra/close/") as socket:
        socket.send(str(code))
        assert closed(socket) == (code, "because: ü")


def test_no_compression(stack):
    """Compression (permessage-deflate) is not negotiated."""
    with stack.socket("/ws/echo/", compression="deflate") as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


def test_ping_timeout(stack):
    """A peer that answers no pings is dropped after WS_PING_INTERVAL and WS_PING_TIMEOUT."""
    with stack.bare_socket("/ws/echo/") as peer:
        started = time.monotonic()
        while peer.recv(4096):  # pings, and perhaps a close frame, which get no answer
            # 2 s + 4 s, and up to 2 s for servers that check once in a second or two.
            assert time.monotonic() - started < 20
    assert time.monotonic() - started > 5


def test_idle_socket(stack):
    """An idle socket stays open for longer than PROXY_READ_TIMEOUT."""
    with stack.socket("/ws/echo/") as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=11)  # PROXY_READ_TIMEOUT is 8 s
        socket.send("still here")
        assert socket.recv(timeout=20) == "still here"


def test_1000_sockets(stack):
    """1,000 sockets are open at once."""

    async def echo(number: int, few: asyncio.Semaphore, all_open: asyncio.Barrier) -> str:
        async with few:
            opened = await stack.async_socket("/ws/echo/", open_timeout=60)
        async with opened as socket, asyncio.timeout(90):
            await all_open.wait()
            await socket.send(str(number))
            return await socket.recv()

    async def echoes() -> list[str]:
        # nginx's limit for a handshake is 8 s: 1,000 at the same time would exceed it.
        few, all_open = asyncio.Semaphore(100), asyncio.Barrier(1000)
        return await asyncio.gather(*(echo(number, few, all_open) for number in range(1000)))

    assert run(echoes()) == [str(number) for number in range(1000)]


def megabytes(stack: Stack, pid: str) -> list[float]:
    """Return the memory in MiB of the process with this id, in each replica that has one."""
    found = []
    for app in stack.containers("app"):
        _, status = execute(app, ["cat", f"/proc/{pid}/status"])
        found += [int(kb) / 1024 for kb in re.findall(r"^VmRSS:\s+(\d+) kB", status.decode(), re.M)]
    return found


def test_unread_messages(stack):
    """Messages to a client that does not read take no memory: the application waits.

    The application sends 100 MiB.
    """
    with stack.socket("/ws/extra/flood/", max_queue=1) as socket:
        pid = socket.recv(timeout=20)
        before = megabytes(stack, pid)
        assert before
        socket.send("go")
        assert len(socket.recv(timeout=20)) == 1024**2  # the application has begun to send
        sampled_until = time.monotonic() + 3
        while time.monotonic() < sampled_until:
            for early, late in zip(before, megabytes(stack, pid), strict=True):
                assert late - early < 30


def test_disconnect_called(stack):
    """disconnect() is called when the connection is lost while messages are sent to it."""
    with stack.socket("/ws/extra/tick/?vanished") as socket:
        socket.send("go")
        assert socket.recv(timeout=20) == "0"
        socket.socket.shutdown(sockets.SHUT_RDWR)
    line = "vanished disconnected"
    eventually("its log line", lambda: any(line in logged for logged in stack.logs("app")))


@pytest.fixture
def two_replicas(stack) -> Iterator[tuple[Room, Room]]:
    """Two users, ada and bob, in one room, connected to two replicas."""
    ada, bob = stack.browser("ada"), stack.browser("bob")
    with ExitStack() as sockets:
        first = sockets.enter_context(stack.room("lobby", ada))
        second = first
        while second.replica == first.replica:
            second = sockets.enter_context(stack.room("lobby", bob))
        yield first, second


def test_two_replicas(two_replicas):
    """Users on two replicas receive each other's messages."""
    for sender, author in zip(two_replicas, ("ada", "bob"), strict=True):
        sender.say(f"hello from {author}")
        for receiver in two_replicas:
            assert receiver.receive() == (author, f"hello from {author}")


def test_publish_from_a_view(stack):
    """A message published by a view reaches the sockets of every replica."""
    path, replicas = "/ws/extra/load/views/", set()
    with ExitStack() as sockets:
        receivers = []
        while len(replicas) < 2:
            receivers.append(sockets.enter_context(stack.socket(path)))
            replicas.add(json.loads(receivers[-1].recv(timeout=20))["replica"])
            assert json.loads(receivers[-1].recv(timeout=20))["type"] == "subscribed"
        stack.browser().post("/extra/publish-sync/views/", content="hello").raise_for_status()
        for receiver in receivers:
            assert json.loads(receiver.recv(timeout=20))["data"] == "hello"


def test_burst(two_replicas):
    """A burst of 500 messages reaches every socket, complete and in order.

    Channels' core layer lost 357 of the 500.
    """
    sender, receiver = two_replicas
    texts = [str(number) for number in range(500)]
    for text in texts:
        sender.say(text)
    for room in (receiver, sender):
        assert [room.receive() for _ in texts] == [("ada", text) for text in texts]


def test_quiet_room(two_replicas):
    """A room stays open while no messages are sent.

    redis-py 8 times out on an idle connection after 5 s, and Channels' core layer would close.
    """
    sender, receiver = two_replicas
    with pytest.raises(TimeoutError):
        receiver.receive(timeout=7)
    sender.say("still here")
    assert receiver.receive() == ("ada", "still here")
