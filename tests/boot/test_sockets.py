"""What happens to sockets that nobody broke: drained by hand, logged out, seen by others."""

from contextlib import ExitStack

import pytest
from websockets import ConnectionClosed

from tests.stack import Room, eventually, execute, form

DRAIN = ["python", "manage.py", "drain"]


def code(room: Room) -> int:
    """Return what a socket is closed with, soon; what is said before is passed over."""
    with pytest.raises(ConnectionClosed) as closed:
        room.hear_of("a message of no type", timeout=20)
    return closed.value.rcvd.code


def test_a_replica_can_be_emptied_by_hand_and_filled_again(stack):
    browser = stack.browser("ada")
    with stack.room("drained", browser) as room:
        app = stack.replica(room.replica)
        done = execute(app, DRAIN)
        room.hear_of("reconnect")
        assert code(room) == 4000
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

    eventually("sockets of the replica", back)


def test_logging_out_closes_the_sockets_of_that_browser(stack):
    here, there = stack.browser("ada"), stack.browser("ada")
    with (
        stack.room("first", here) as first,
        stack.room("second", here) as second,
        stack.room("first", there) as elsewhere,
    ):
        assert here.post("/accounts/logout/", data=form(here)).status_code == 302
        assert (code(first), code(second)) == (4401, 4401)
        elsewhere.say("still here")
        assert elsewhere.hear() == ("ada", "still here")


@pytest.mark.parametrize("change", ["is_active = False", "set_password('another')"])
def test_a_user_who_is_deactivated_or_gets_a_new_password_loses_all_sockets(stack, change):
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
        assert (code(first), code(second)) == (4401, 4401)


def test_people_on_two_replicas_see_each_other_come_and_go(stack):
    ada, bob = stack.browser("ada"), stack.browser("bob")

    def until(room: Room, *names: str) -> None:
        while room.hear_of("presence", timeout=15)["here"] != list(names):
            pass

    with stack.room("seen", ada) as room, ExitStack() as rooms:
        until(room, "ada")
        other = room
        while other.replica == room.replica:
            other = rooms.enter_context(stack.room("seen", bob))
        until(other, "ada", "bob")
        until(room, "ada", "bob")
        rooms.close()
        until(room, "ada")
