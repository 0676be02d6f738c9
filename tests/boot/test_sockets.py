"""Draining, session revocation and presence, across replicas."""

from contextlib import ExitStack

import pytest
from websockets import ConnectionClosed

from tests.stack import Room, eventually, execute, form

DRAIN = ["python", "manage.py", "drain"]


def close_code(room: Room) -> int:
    """Wait for a socket to be closed, and return the close code."""
    with pytest.raises(ConnectionClosed) as closed:
        room.receive_type("a message of no type", timeout=20)
    return closed.value.rcvd.code


def test_drain(stack):
    """`manage.py drain` empties a replica, and `drain --undo` makes it accept sockets again."""
    browser = stack.browser("ada")
    with stack.room("drained", browser) as room:
        app = stack.replica(room.replica)
        done = execute(app, DRAIN)
        room.receive_type("reconnect")
        assert close_code(room) == 4000
    try:
        assert (done.exit_code, done.output.decode().strip()) == (0, "Drained.")
        for _ in range(4):
            with stack.room("drained", browser) as room:
                assert stack.replica(room.replica) != app
            assert stack.browser().get("/").status_code == 200
    finally:
        assert execute(app, [*DRAIN, "--undo"]).exit_code == 0

    def back() -> bool:
        with stack.room("drained", browser) as room:
            return stack.replica(room.replica) == app

    eventually("a socket of the replica", back)


def test_logout_closes_sockets(stack):
    """Logging out closes that browser's sockets, and not the user's others."""
    browser, other = stack.browser("ada"), stack.browser("ada")
    with (
        stack.room("first", browser) as first,
        stack.room("second", browser) as second,
        stack.room("first", other) as elsewhere,
    ):
        assert browser.post("/accounts/logout/", data=form(browser)).status_code == 302
        assert (close_code(first), close_code(second)) == (4401, 4401)
        elsewhere.say("still here")
        assert elsewhere.receive() == ("ada", "still here")


@pytest.mark.parametrize("change", ["is_active = False", "set_password('another')"])
def test_revoked_user(stack, change):
    """Deactivating a user or changing the password closes all of the user's sockets."""
    name = f"user{len(change)}"
    stack.add_user(name)
    with (
        stack.room("first", stack.browser(name)) as first,
        stack.room("second", stack.browser(name)) as second,
    ):
        find = (
            f"from django.contrib.auth.models import User; u = User.objects.get(username={name!r})"
        )
        stack.manage("shell", "-v0", "-c", f"{find}; u.{change}; u.save()")
        assert (close_code(first), close_code(second)) == (4401, 4401)


def test_presence_across_replicas(stack):
    """Users on two replicas see each other join and leave."""
    ada, bob = stack.browser("ada"), stack.browser("bob")

    def wait_for_members(room: Room, *names: str) -> None:
        while room.receive_type("presence", timeout=15)["members"] != list(names):
            pass

    with stack.room("seen", ada) as room, ExitStack() as rooms:
        wait_for_members(room, "ada")
        other = room
        while other.replica == room.replica:
            other = rooms.enter_context(stack.room("seen", bob))
        wait_for_members(other, "ada", "bob")
        wait_for_members(room, "ada", "bob")
        rooms.close()
        wait_for_members(room, "ada")
