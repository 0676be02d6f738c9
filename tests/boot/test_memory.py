"""What takes memory by the doing of one client, and leaves enough for the others."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.grid.test_life import restart
from tests.stack import Room, Stack, eventually, form

# What .env.example has for one client and one message, unless it is changed.
CLIENT_MAX_SOCKETS = 2000
WS_MAX_MESSAGE_BYTES = 1_048_576
# Of what is said in a room: 2000 characters, each of them four bytes.
LONG = "\N{SLIGHTLY SMILING FACE}" * 2000


def unfinished(stack: Stack, address: str) -> socket.socket:
    """Open a socket and send it the largest message, but for the last byte.

    Args:
        stack: what is asked.
        address: of its nginx. By the published port it would all wait in Docker's proxy.
    """
    client = stack.bare_socket("/ws/echo/", address=address)
    # A final frame of text, masked with zeros: https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    head = b"\x81\xff" + WS_MAX_MESSAGE_BYTES.to_bytes(8) + bytes(4)
    client.sendall(head + b"x" * (WS_MAX_MESSAGE_BYTES - 1))
    return client


def close_code(client: socket.socket) -> int:
    """Return the code with which a socket has been closed, or 0 if it has not been yet."""
    client.setblocking(False)
    try:
        frames = client.recv(1024)
    except BlockingIOError:
        return 0
    while frames[0] == 0x89:  # a ping
        frames = frames[2 + frames[1] :]
        if not frames:
            return 0
    assert frames[0] == 0x88, "not a close frame"
    return int.from_bytes(frames[2:4])


@pytest.fixture
def _patient(stack) -> Iterator[None]:
    """A stack that waits as long for the answer to a ping as it does unless it is changed."""
    restart(stack, WS_PING_INTERVAL="20", WS_PING_TIMEOUT="20", PROXY_READ_TIMEOUT="75")
    yield
    restart(stack)


@pytest.mark.usefixtures("_patient")
@pytest.mark.only(topology="single")
def test_all_sockets_of_a_client_with_unfinished_messages_bring_no_replica_down(stack):
    address = stack.nginx_address
    starts = [app.attrs["State"]["StartedAt"] for app in stack.replicas()]
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(unfinished(stack, address)) for _ in range(CLIENT_MAX_SOCKETS)
        ]
        for app in stack.containers("app"):
            memory = app.stats(stream=False)["memory_stats"]
            assert memory["usage"] < memory["limit"] * 0.75
        with stack.socket("/ws/echo/") as echo:
            echo.send("hello")
            assert echo.recv(timeout=20) == "hello"
        codes = Counter(map(close_code, sockets))
        assert codes.keys() == {0, 1013}
        assert codes[0] <= 2 * 64  # what is still waited for: in each process, 64 MiB
    assert [app.attrs["State"]["StartedAt"] for app in stack.replicas()] == starts


def ask_again_and_again(echo: ClientConnection, times: int) -> None:
    """Send something and get it back. Raises websockets.ConnectionClosed when that is too much."""
    for _ in range(times):
        echo.send("hello")
        echo.recv(timeout=20)


def test_a_client_that_sends_too_much_is_closed_even_where_nobody_has_logged_in(stack):
    with stack.socket("/ws/echo/") as echo:
        ask_again_and_again(echo, 1000)
        with pytest.raises(ConnectionClosed) as closed:
            ask_again_and_again(echo, 1000)
    assert closed.value.rcvd.code == 4429


@contextmanager
def little_memory(stack: Stack, more: int) -> Iterator[None]:
    """Give Redis so many bytes more than it needs now, and see that some keys had to go."""
    evicted = redis_info(stack, "evicted_keys")
    most = redis_info(stack, "used_memory") + more
    try:
        assert stack.redis_cli("config", "set", "maxmemory", str(most)) == ["OK"]
        yield
        assert redis_info(stack, "evicted_keys") > evicted
    finally:
        assert stack.redis_cli("config", "set", "maxmemory", "200mb") == ["OK"]
        stack.redis_cli("flushall")


def redis_info(stack: Stack, name: str) -> int:
    """Return one of the numbers that Redis tells of itself."""
    lines = (line.partition(":") for line in stack.redis_cli("info"))
    (value,) = [value for key, _, value in lines if key == name]
    return int(value)


def gets_through(room: Room) -> bool:
    """Whether what somebody says comes back: not when the room's history was just given up."""
    room.say("hello")
    try:
        return bool(room.hear(timeout=2))
    except TimeoutError:
        return False


def test_somebody_who_fills_redis_stops_nobody_else(stack):
    ada, bob = stack.browser("ada"), stack.browser("bob")
    with little_memory(stack, 2 * 1024**2), ExitStack() as rooms:
        elsewhere = rooms.enter_context(stack.room("elsewhere", bob))
        for number in range(30):
            flooded = rooms.enter_context(stack.room(f"flooded{number}", ada))
            for _ in range(20):
                flooded.say(LONG)
            flooded.connection.send('{"type": "ping"}')
            flooded.hear_of("pong")  # after all that came before
        eventually("a message gets through", lambda: gets_through(elsewhere))
        with stack.room("new", bob) as new:
            eventually("a message gets through", lambda: gets_through(new))
        assert bob.post("/accounts/ticket/", data=form(bob)).status_code == 200
        assert bob.post("/accounts/logout/", data=form(bob)).status_code == 302
        with pytest.raises(ConnectionClosed) as closed:
            elsewhere.hear_of("goodbye")
        assert closed.value.rcvd.code == 4401
    eventually("ready", lambda: stack.browser().get("/readyz").status_code == 200)
