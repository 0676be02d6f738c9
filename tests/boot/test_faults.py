"""What comes back by itself when a part of the stack goes away."""

import socket
import time
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest
from websockets import ConnectionClosed, InvalidStatus

from tests.stack import Stack, eventually


@pytest.fixture(scope="module", autouse=True)
def _ready(stack: Stack):
    """Leave the stack as it was found."""
    yield
    stack.compose("up", "--detach", "--wait", "--no-recreate")


def kill(stack: Stack, service: str) -> None:
    """Kill every container of a service with SIGKILL."""
    stack.compose("kill", service)


def all_healthy(stack: Stack) -> bool:
    """Whether Docker takes every replica for healthy."""
    return all(app.health == "healthy" for app in stack.replicas())


def misses(stack: Stack) -> int:
    """Return how often nginx has had no answer for Docker; after three it is unhealthy."""
    (nginx,) = stack.containers("nginx")
    return nginx.attrs["State"]["Health"]["FailingStreak"]


def answers(stack: Stack, path: str) -> bool:
    """Whether a page is there. Nobody listening counts as no."""
    try:
        return stack.browser().get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_redis_may_die_and_come_back(stack):
    browser = stack.browser("ada")
    with stack.room("redis", browser) as speaker, stack.room("redis", browser) as listener:
        speaker.say("before")
        for person in (speaker, listener):
            assert person.hear() == ("ada", "before")
        kill(stack, "redis")
        ready = stack.browser().get("/readyz")
        assert (ready.status_code, ready.json()["redis"]) == (503, False)
        assert answers(stack, "/livez")
        assert answers(stack, "/")
        assert answers(stack, "/accounts/login/")

        speaker.say("meanwhile")
        stack.containers("redis")[0].start()
        for person in (speaker, listener):
            assert person.hear() == ("ada", "meanwhile")
        eventually("ready again", lambda: answers(stack, "/readyz"))
        with stack.room("redis", browser) as newcomer:
            newcomer.say("hello")
            for person in (speaker, listener, newcomer):
                assert person.hear() == ("ada", "hello")


def test_what_is_said_while_redis_is_away_is_kept_and_sent_when_it_is_said_again(stack):
    browser = stack.browser("ada")
    key = str(uuid4())
    with stack.room("away", browser) as room:
        kill(stack, "redis")
        try:
            room.say("into the void", key)
            with pytest.raises(ConnectionClosed) as closed:
                room.hear_of("message", timeout=30)
            assert closed.value.rcvd.code == 4500  # come back, and say it again
            page = browser.get("/rooms/away/").raise_for_status().text
            assert "into the void" in page
        finally:
            stack.compose("start", "redis")
    eventually("ready again", lambda: answers(stack, "/readyz"))
    with stack.room("away", browser) as room:
        room.say("into the void", key)
        room.say("and more")
        assert [room.hear()[1] for _ in range(2)] == ["into the void", "and more"]
    assert browser.get("/rooms/away/").text.count("into the void") == 1


def test_a_replica_that_does_not_answer_is_given_up_once_and_asked_again_as_soon_as_it_does(stack):
    """Timed out, a page is not asked of another replica; nor is a replica left out for it."""
    before = time.time()
    stack.compose("pause", stack.pages)
    try:
        for _ in stack.containers(stack.pages):
            started = time.monotonic()
            assert stack.browser().get("/").status_code == 504
            assert time.monotonic() - started < 14  # REQUEST_TIMEOUT is 8 s
    finally:
        stack.compose("unpause", stack.pages)
        quick = [answers(stack, "/") for _ in range(10)]
        # Docker takes a paused container for unhealthy until it has asked it again.
        eventually("healthy", lambda: all_healthy(stack))
    assert quick == [True] * 10
    pages = [line for line in stack.json_logs("nginx", since=before) if line["path"] == "/"]
    timed_out = [line["upstream"].count(":8000") for line in pages if line["status"] == 504]
    assert timed_out == [1, 1]


@pytest.mark.parametrize("gone", ["sockets", "pages"])
def test_what_nobody_is_there_to_answer_is_answered_by_nobody_else_and_the_rest_goes_on(
    stack, gone
):
    service = "app" if gone == "sockets" else stack.pages
    kill(stack, service)
    try:
        expected = {502, 504} if service == stack.pages else {200}
        for path in ("/", "/livez"):
            assert stack.browser().get(path).status_code in expected
        if service == "app":
            with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/"):
                pass
            assert refused.value.response.status_code in {502, 504}
        else:
            with stack.socket("/ws/echo/") as socket:
                socket.send("hello")
                assert socket.recv(timeout=20) == "hello"
    finally:
        stack.compose("up", "--detach", "--wait", "--no-recreate")
    eventually("an answer, to Docker's question too", lambda: misses(stack) == 0)


def test_uploads_that_never_end_do_not_bring_nginx_down(stack):
    (nginx,) = stack.containers("nginx")
    started = nginx.attrs["State"]["StartedAt"]
    head = f"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10 * 1024**2}\r\n\r\n"
    with ExitStack() as uploads:
        for _ in range(30):
            upload = uploads.enter_context(socket.create_connection(("127.0.0.1", stack.port)))
            upload.settimeout(20)
            upload.sendall(head.encode())
            try:
                upload.sendall(b"x" * (10 * 1024**2 - 1))
            except (BrokenPipeError, ConnectionResetError):
                break  # refused: no room for more of them
        assert stack.browser().get("/").status_code == 200
    assert "exited on signal" not in "".join(stack.logs("nginx"))
    nginx.reload()
    assert (nginx.attrs["State"]["StartedAt"], nginx.attrs["RestartCount"]) == (started, 0)
    eventually("room for uploads again", lambda: answers(stack, "/"))


def test_nginx_may_die_and_come_back(stack):
    with stack.socket("/ws/echo/") as before:
        kill(stack, "nginx")
        with pytest.raises(ConnectionClosed):
            before.recv(timeout=20)
    assert not answers(stack, "/")
    stack.compose("start", "nginx")
    eventually("pages again", lambda: answers(stack, "/"))
    with stack.socket("/ws/echo/") as after:
        after.send("hello")
        assert after.recv(timeout=20) == "hello"


def test_a_replica_that_stops_says_so_to_its_sockets_and_the_other_goes_on(stack):
    browser = stack.browser("ada")
    with stack.room("deploy", browser) as room:
        app = stack.replica(room.replica)
        app.stop(timeout=75)
        room.hear_of("reconnect")
        with pytest.raises(ConnectionClosed) as closed:
            room.connection.recv(timeout=20)
    assert closed.value.rcvd.code == 4000  # come back
    app.reload()
    assert app.attrs["State"]["ExitCode"] == 0
    for _ in range(20):
        assert answers(stack, "/")
    with stack.room("deploy", browser) as room:
        assert not app.id.startswith(room.replica)
    app.start()
