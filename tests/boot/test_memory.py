"""Memory that one client can use up, and its limits."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.grid.test_processes import restart
from tests.stack import Room, Stack, eventually, form

# The defaults of .env.example.
CLIENT_MAX_SOCKETS = 2000
WS_MAX_MESSAGE_BYTES = 1_048_576
# The longest message of a room: 2000 characters of four bytes.
LONGEST_TEXT = "\N{SLIGHTLY SMILING FACE}" * 2000


def send_partial_message(stack: Stack, address: str) -> socket.socket:
    """Open a socket and send the largest message, except for its last byte.

    Args:
        stack: the stack.
        address: that of its nginx. Through the published port, Docker's proxy would buffer it.
    """
    client = stack.bare_socket("/ws/echo/", address=address)
    # A final text frame, masked with zeros: https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    head = b"\x81\xff" + WS_MAX_MESSAGE_BYTES.to_bytes(8) + bytes(4)
    client.sendall(head + b"x" * (WS_MAX_MESSAGE_BYTES - 1))
    return client


def close_code(client: socket.socket) -> int:
    """Return a socket's close code, or 0 while it is open."""
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
def _default_timeouts(stack) -> Iterator[None]:
    """Run the stack with the default timeouts: these sockets do not answer pings."""
    restart(stack, WS_PING_INTERVAL="20", WS_PING_TIMEOUT="20", PROXY_READ_TIMEOUT="75")
    yield
    restart(stack)


@pytest.mark.usefixtures("_default_timeouts")
@pytest.mark.only(topology="single")
def test_partial_messages(stack):
    """Partial messages on all sockets of a client do not exhaust a replica's memory."""
    address = stack.nginx_address
    starts = [app.attrs["State"]["StartedAt"] for app in stack.replicas()]
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(send_partial_message(stack, address))
            for _ in range(CLIENT_MAX_SOCKETS)
        ]
        for app in stack.containers("app"):
            memory = app.stats(stream=False)["memory_stats"]
            assert memory["usage"] < memory["limit"] * 0.75
        with stack.socket("/ws/echo/") as echo:
            echo.send("hello")
            assert echo.recv(timeout=20) == "hello"
        codes = Counter(map(close_code, sockets))
        assert codes.keys() == {0, 1013}
        assert codes[0] <= 2 * 64  # in each of two processes, 64 MiB of partial messages
    assert [app.attrs["State"]["StartedAt"] for app in stack.replicas()] == starts


def exchange(echo: ClientConnection, times: int) -> None:
    """Send messages and receive their echoes. Raises websockets.ConnectionClosed."""
    for _ in range(times):
        echo.send("hello")
        echo.recv(timeout=20)


def test_message_rate(stack):
    """Sockets over the message rate are closed with 4429, those of anonymous users too."""
    with stack.socket("/ws/echo/") as echo:
        exchange(echo, 1000)
        with pytest.raises(ConnectionClosed) as closed:
            exchange(echo, 1000)
    assert closed.value.rcvd.code == 4429


@contextmanager
def limited_redis_memory(stack: Stack, headroom: int) -> Iterator[None]:
    """Limit Redis to its current memory and `headroom` bytes; assert that it evicts keys."""
    evicted = redis_info(stack, "evicted_keys")
    limit = redis_info(stack, "used_memory") + headroom
    try:
        assert stack.redis_cli("config", "set", "maxmemory", str(limit)) == ["OK"]
        yield
        assert redis_info(stack, "evicted_keys") > evicted
    finally:
        assert stack.redis_cli("config", "set", "maxmemory", "200mb") == ["OK"]
        stack.redis_cli("flushall")


def redis_info(stack: Stack, name: str) -> int:
    """Return one of the numbers in Redis's INFO."""
    lines = (line.partition(":") for line in stack.redis_cli("info"))
    (value,) = [value for key, _, value in lines if key == name]
    return int(value)


def is_delivered(room: Room) -> bool:
    """Return whether a message is delivered: it is not if its stream has just been evicted."""
    room.say("hello")
    try:
        return bool(room.receive(timeout=2))
    except TimeoutError:
        return False


def test_full_redis(stack):
    """A user who fills Redis does not stop other users' messages, tickets or log-outs."""
    ada, bob = stack.browser("ada"), stack.browser("bob")
    with limited_redis_memory(stack, 2 * 1024**2), ExitStack() as rooms:
        elsewhere = rooms.enter_context(stack.room("elsewhere", bob))
        for number in range(30):
            flooded = rooms.enter_context(stack.room(f"flooded{number}", ada))
            for _ in range(20):
                flooded.say(LONGEST_TEXT)
            flooded.connection.send('{"type": "ping"}')
            flooded.receive_type("pong")  # once all messages before it are handled
        eventually("a message gets through", lambda: is_delivered(elsewhere))
        with stack.room("new", bob) as new:
            eventually("a message gets through", lambda: is_delivered(new))
        assert bob.post("/accounts/ticket/", data=form(bob)).status_code == 200
        assert bob.post("/accounts/logout/", data=form(bob)).status_code == 302
        with pytest.raises(ConnectionClosed) as closed:
            elsewhere.receive_type("goodbye")
        assert closed.value.rcvd.code == 4401
    eventually("ready", lambda: stack.browser().get("/readyz").status_code == 200)
