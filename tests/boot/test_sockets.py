"""WebSockets, through nginx."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets import ConnectionClosed, InvalidStatus

from tests.stack import Room, Stack


@pytest.mark.parametrize(
    "message", ["hello", "", b"\x00\xff", b"", "é" * 2**19], ids=lambda m: f"{type(m)}{len(m)}"
)
def test_the_echo_sends_back_what_it_got(stack: Stack, message):
    with stack.socket("/ws/echo/") as socket:
        socket.send(message)
        assert socket.recv(timeout=20) == message


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_a_page_of_another_site_is_refused(stack, origin):
    with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/", origin=origin):
        pass
    assert refused.value.response.status_code == 403


def closed_with(stack: Stack, path: str) -> int:
    """Return the code that a socket is closed with which a stranger opens."""
    with stack.socket(path) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=20)
    return closed.value.rcvd.code


def test_a_stranger_is_told_to_log_in(stack):
    assert closed_with(stack, "/ws/rooms/lobby/") == 4401


def test_where_there_is_no_socket_a_browser_is_told_so(stack):
    assert closed_with(stack, "/ws/nowhere/") == 4404


def test_a_message_over_the_limit_closes_the_socket(stack):
    with stack.socket("/ws/echo/") as socket:
        # In two frames: a server hangs up on the header of the second, and what was still on its
        # way would reset the connection before the code is read.
        socket.send([b"x" * 1024**2, b"x"])
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
    assert closed.value.rcvd.code == 1009


def test_compression_is_off(stack):
    with stack.socket("/ws/echo/") as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


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
        listener.hear(timeout=12)
    speaker.say("still here")
    assert listener.hear() == ("ada", "still here")
