"""The quota of sockets per user, across replicas."""

import time
from contextlib import ExitStack

import httpx
import pytest
from websockets import ConnectionClosed

from tests.boot.test_tickets import redis_paused
from tests.grid.test_processes import restart
from tests.stack import Room, Stack, eventually, execute

pytestmark = pytest.mark.whole

DRAIN = ["python", "manage.py", "drain"]


@pytest.fixture(scope="module", autouse=True)
def _quota(stack: Stack):
    """Limit a user to four sockets, for the tests of this module."""
    restart(stack, WS_PER_USER="4")
    yield
    restart(stack)


def is_accepted(stack: Stack, browser: httpx.Client) -> bool:
    """Return whether another socket of a user is accepted, and not closed with 4429."""
    with stack.socket("/ws/echo/", browser) as socket:
        try:
            socket.send("hello")
            answer = socket.recv(timeout=20)
        except ConnectionClosed as closed:
            answer = closed.rcvd.code
        return {"hello": True, 4429: False}[answer]


def fill_quota(stack: Stack, browser: httpx.Client, sockets: ExitStack) -> list[Room]:
    """Open as many sockets of a user as the quota allows, on both replicas."""

    def spread() -> list[Room]:
        sockets.pop_all().close()
        try:
            rooms = [sockets.enter_context(stack.room("quota", browser)) for _ in range(4)]
        except ConnectionClosed:  # sockets that were just closed still count
            return []
        return rooms if len({room.replica for room in rooms}) == 2 else []

    return eventually("sockets on both replicas", spread)


def test_quota_across_replicas(stack):
    """A user's sockets over WS_PER_USER are closed with 4429, whichever replica has the others."""
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        fill_quota(stack, ada, sockets)
        assert not any(is_accepted(stack, ada) for _ in range(3))
        assert is_accepted(stack, stack.browser("bob"))
        assert is_accepted(stack, stack.browser())
        sockets.pop_all().close()
        assert is_accepted(stack, ada)


def test_quota_while_draining(stack):
    """Sockets of a draining replica can reconnect to the other one within the quota."""
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        rooms = fill_quota(stack, ada, sockets)
        draining = [room for room in rooms if room.replica == rooms[0].replica]
        app = stack.replica(rooms[0].replica)
        try:
            assert app.exec_run([*DRAIN], detach=True)
            for room in draining:
                room.receive_type("reconnect")
                sockets.enter_context(stack.room("quota", ada))
            assert not is_accepted(stack, ada)
        finally:
            assert execute(app, [*DRAIN, "--undo"]).exit_code == 0


def test_quota_after_kill(stack):
    """A killed replica's sockets stop counting within 15 s."""
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        rooms = fill_quota(stack, ada, sockets)
        app = stack.replica(rooms[0].replica)
        killed = sum(room.replica == rooms[0].replica for room in rooms)
        app.kill()
        started = time.monotonic()
        for _ in range(killed):
            eventually(
                "one more socket",
                lambda: is_accepted(stack, ada) and sockets.enter_context(stack.room("quota", ada)),
            )
        assert time.monotonic() - started < 15
        assert not is_accepted(stack, ada)
        app.start()
        eventually("healthy", lambda: stack.replica(rooms[0].replica).health == "healthy")


def test_quota_without_redis(stack):
    """The quota is not enforced while Redis does not answer, and is again afterwards."""
    ada = stack.browser("ada")
    with ExitStack() as sockets:
        fill_quota(stack, ada, sockets)
        with redis_paused(stack):
            for _ in range(3):
                socket = sockets.enter_context(stack.socket("/ws/echo/", ada))
                socket.send("hello")
                assert socket.recv(timeout=20) == "hello"
        eventually("the limit holds", lambda: not is_accepted(stack, ada))
