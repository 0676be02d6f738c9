"""How many sockets a user may have, on all replicas together."""

import time
from contextlib import ExitStack

import httpx
import pytest
from websockets import ConnectionClosed

from tests.boot.test_tickets import redis_away
from tests.grid.test_life import restart
from tests.stack import Room, Stack, eventually, execute

pytestmark = pytest.mark.whole

DRAIN = ["python", "manage.py", "drain"]


@pytest.fixture(scope="module", autouse=True)
def _few(stack: Stack):
    """A user may have four sockets. Leave the stack as it was found."""
    restart(stack, WS_PER_USER="4")
    yield
    restart(stack)


def let_in(stack: Stack, browser: httpx.Client) -> bool:
    """Whether one more socket of a user is let in, and not closed with 4429."""
    with stack.socket("/ws/echo/", browser) as socket:
        try:
            socket.send("hello")
            answer = socket.recv(timeout=20)
        except ConnectionClosed as closed:
            answer = closed.rcvd.code
        return {"hello": True, 4429: False}[answer]


def enter(stack: Stack, browser: httpx.Client, sockets: ExitStack) -> list[Room]:
    """Open as many sockets of a user as may be, on two replicas."""

    def spread() -> list[Room]:
        sockets.pop_all().close()
        try:
            rooms = [sockets.enter_context(stack.room("seats", browser)) for _ in range(4)]
        except ConnectionClosed:  # some of those that have just gone still count
            return []
        return rooms if len({room.replica for room in rooms}) == 2 else []

    return eventually("sockets on both replicas", spread)


def test_one_socket_too_many_is_closed_wherever_the_others_are(stack):
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        enter(stack, ada, sockets)
        assert not any(let_in(stack, ada) for _ in range(3))
        assert let_in(stack, stack.browser("bob"))
        assert let_in(stack, stack.browser())
        sockets.pop_all().close()
        assert let_in(stack, ada)


def test_sockets_of_a_replica_that_is_drained_are_let_in_by_the_other_one(stack):
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        rooms = enter(stack, ada, sockets)
        leaving = [room for room in rooms if room.replica == rooms[0].replica]
        app = stack.replica(rooms[0].replica)
        try:
            assert app.exec_run([*DRAIN], detach=True)
            for room in leaving:
                room.hear_of("reconnect")
                sockets.enter_context(stack.room("seats", ada))
            assert not let_in(stack, ada)
        finally:
            assert execute(app, [*DRAIN, "--undo"]).exit_code == 0


def test_sockets_of_a_replica_that_is_killed_are_soon_forgotten(stack):
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        rooms = enter(stack, ada, sockets)
        app = stack.replica(rooms[0].replica)
        killed = sum(room.replica == rooms[0].replica for room in rooms)
        app.kill()
        started = time.monotonic()
        for _ in range(killed):
            eventually(
                "one more socket",
                lambda: let_in(stack, ada) and sockets.enter_context(stack.room("seats", ada)),
            )
        assert time.monotonic() - started < 15
        assert not let_in(stack, ada)
        app.start()
        eventually("healthy", lambda: stack.replica(rooms[0].replica).health == "healthy")


def test_without_redis_everybody_is_let_in_and_counted_when_it_is_back(stack):
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        enter(stack, ada, sockets)
        with redis_away(stack):
            for _ in range(3):
                socket = sockets.enter_context(stack.socket("/ws/echo/", ada))
                socket.send("hello")
                assert socket.recv(timeout=20) == "hello"
        eventually("the limit holds", lambda: not let_in(stack, ada))
