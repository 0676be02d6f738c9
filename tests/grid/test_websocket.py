"""WebSockets, through nginx."""

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
def test_text_and_bytes_come_back_from_empty_to_1_MiB(stack: Stack, message):
    with stack.socket("/ws/echo/") as socket:
        socket.send(message)
        assert socket.recv(timeout=20) == message


def test_a_message_in_fragments_comes_back_whole_and_a_ping_in_between_is_answered(stack):
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


def test_a_message_over_the_limit_closes_the_socket_with_1009(stack):
    async def close_code(message: str | bytes) -> int:
        # Not the synchronous client: it does not see the close frame while it sends.
        async with stack.async_socket("/ws/echo/", open_timeout=20) as socket:
            with suppress(ConnectionClosed):  # before the last bytes have left
                await socket.send(message)
            await asyncio.wait_for(socket.wait_closed(), 20)
        return socket.close_code  # 1006: cut, without a close frame

    for message in (b"x" * (1024**2 + 1), b"x" * 4 * 1024**2, "x" * 2 * 1024**2):
        assert run(close_code(message)) == 1009


def test_text_that_is_not_utf_8_closes_the_socket_with_1007(stack):
    with stack.socket("/ws/echo/") as socket:
        with socket.send_context():
            socket.protocol.send_text(b"\xc3\x28", fin=True)
        assert closed(socket)[0] == 1007


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_a_page_of_another_site_and_what_sends_no_origin_are_refused(stack, origin):
    with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/", origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_an_application_may_refuse_the_handshake(stack):
    with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/extra/refuse/"):
        pass
    assert refused.value.response.status_code == 403


def test_somebody_who_has_logged_in_is_known(stack):
    with stack.room("lobby", stack.browser("ada")) as room:
        room.say("it is me")
        assert room.hear() == ("ada", "it is me")


def test_a_stranger_is_told_to_log_in_by_a_code_that_a_browser_can_see(stack):
    with stack.socket("/ws/rooms/lobby/") as socket:
        assert closed(socket)[0] == 4401


def test_where_there_is_no_socket_a_browser_is_told_so(stack):
    with stack.socket("/ws/nowhere/") as socket:
        assert closed(socket)[0] == 4404


def test_a_subprotocol_is_agreed_on(stack):
    path = "/ws/extra/subprotocol/"
    with stack.socket(path, subprotocols=["chat.v1", "chat.v2"]) as socket:
        assert socket.subprotocol == "chat.v2"
    with stack.socket(path) as socket:
        assert socket.subprotocol is None


@pytest.mark.parametrize("code", [1000, 3000, 4000, 4499, 4999])
def test_close_codes_of_the_application_arrive_with_their_reason(stack, code):
    with stack.socket("/ws/extra/close/") as socket:
        socket.send(str(code))
        assert closed(socket) == (code, "because: ü")


def test_compression_is_off(stack):
    with stack.socket("/ws/echo/", compression="deflate") as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


def test_a_peer_that_does_not_answer_is_gone_within_interval_and_timeout(stack):
    with stack.bare_socket("/ws/echo/") as peer:
        started = time.monotonic()
        while peer.recv(4096):  # pings, and perhaps a close: never answered
            # 2 s and 4 s, and what a server that looks every second or two takes to see it.
            assert time.monotonic() - started < 20
    assert time.monotonic() - started > 5


def test_a_socket_that_is_only_quiet_outlives_the_limit_of_the_proxy(stack):
    with stack.socket("/ws/echo/") as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=11)  # PROXY_READ_TIMEOUT is 8 s
        socket.send("still here")
        assert socket.recv(timeout=20) == "still here"


def test_1000_sockets_are_open_at_once(stack):
    async def echo(number: int, few: asyncio.Semaphore, all_open: asyncio.Barrier) -> str:
        async with few:
            opened = await stack.async_socket("/ws/echo/", open_timeout=60)
        async with opened as socket, asyncio.timeout(90):
            await all_open.wait()
            await socket.send(str(number))
            return await socket.recv()

    async def echoes() -> list[str]:
        # nginx gives a handshake 8 s, which a thousand at a time would not have.
        few, all_open = asyncio.Semaphore(100), asyncio.Barrier(1000)
        return await asyncio.gather(*(echo(number, few, all_open) for number in range(1000)))

    assert run(echoes()) == [str(number) for number in range(1000)]


def megabytes(stack: Stack, pid: str) -> list[float]:
    """Return the memory of the processes of this number, one in each replica that has one."""
    found = []
    for app in stack.containers("app"):
        _, status = execute(app, ["cat", f"/proc/{pid}/status"])
        found += [int(kb) / 1024 for kb in re.findall(r"^VmRSS:\s+(\d+) kB", status.decode(), re.M)]
    return found


def test_a_reader_that_does_not_read_takes_no_memory(stack):
    """The application has 100 MiB for it, and has to wait."""
    with stack.socket("/ws/extra/flood/", max_queue=1) as socket:
        pid = socket.recv(timeout=20)
        before = megabytes(stack, pid)
        assert before
        socket.send("go")
        time.sleep(3)
        for early, late in zip(before, megabytes(stack, pid), strict=True):
            assert late - early < 30


def test_disconnect_is_called_when_the_peer_vanishes_amid_a_message(stack):
    with stack.socket("/ws/extra/tick/?vanished") as socket:
        socket.send("go")
        assert socket.recv(timeout=20) == "0"
        socket.socket.shutdown(sockets.SHUT_RDWR)
    eventually("its log", lambda: any("vanished left" in line for line in stack.logs("app")))


@pytest.fixture
def two_replicas(stack) -> Iterator[tuple[Room, Room]]:
    """Ada and Bob in one room, on two replicas."""
    ada, bob = stack.browser("ada"), stack.browser("bob")
    with ExitStack() as sockets:
        first = sockets.enter_context(stack.room("lobby", ada))
        second = first
        while second.replica == first.replica:
            second = sockets.enter_context(stack.room("lobby", bob))
        yield first, second


def test_people_on_two_replicas_hear_each_other(two_replicas):
    for speaker, author in zip(two_replicas, ("ada", "bob"), strict=True):
        speaker.say(f"hello from {author}")
        for listener in two_replicas:
            assert listener.hear() == (author, f"hello from {author}")


def test_what_a_page_publishes_reaches_the_sockets_of_every_replica(stack):
    path, replicas = "/ws/extra/crowd/said/", set()
    with ExitStack() as everybody:
        listeners = []
        while len(replicas) < 2:
            listeners.append(everybody.enter_context(stack.socket(path)))
            replicas.add(json.loads(listeners[-1].recv(timeout=20))["replica"])
            assert json.loads(listeners[-1].recv(timeout=20))["type"] == "subscribed"
        stack.browser().post("/extra/say/said/", content="hello").raise_for_status()
        for listener in listeners:
            assert json.loads(listener.recv(timeout=20))["data"] == "hello"


def test_a_burst_reaches_everyone_whole_and_in_order(two_replicas):
    """The core channel layer lost 357 of 500 here."""
    speaker, listener = two_replicas
    texts = [str(number) for number in range(500)]
    for text in texts:
        speaker.say(text)
    for person in (listener, speaker):
        assert [person.hear() for _ in texts] == [("ada", text) for text in texts]


def test_a_quiet_room_stays_open(two_replicas):
    """redis-py 8 gives up on a quiet connection after 5 s: a core channel layer would close."""
    speaker, listener = two_replicas
    with pytest.raises(TimeoutError):
        listener.hear(timeout=7)
    speaker.say("still here")
    assert listener.hear() == ("ada", "still here")
