"""Recovery of the stack after one of its services has failed."""

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
    """Start what a test has left stopped."""
    yield
    stack.compose("up", "--detach", "--wait", "--no-recreate")


def kill(stack: Stack, service: str) -> None:
    """Kill every container of a service with SIGKILL."""
    stack.compose("kill", service)


def all_healthy(stack: Stack) -> bool:
    """Return whether Docker reports every replica as healthy."""
    return all(app.health == "healthy" for app in stack.replicas())


def failed_health_checks(stack: Stack) -> int:
    """Return how many health checks nginx has failed in a row; after three it is unhealthy."""
    (nginx,) = stack.containers("nginx")
    return nginx.attrs["State"]["Health"]["FailingStreak"]


def is_served(stack: Stack, path: str) -> bool:
    """Return whether a page is served; a refused connection counts as no."""
    try:
        return stack.browser().get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_redis_restart(stack):
    """Redis can be killed and started again: messages sent meanwhile are delivered."""
    browser = stack.browser("ada")
    with stack.room("redis", browser) as sender, stack.room("redis", browser) as receiver:
        sender.say("before")
        for room in (sender, receiver):
            assert room.receive() == ("ada", "before")
        kill(stack, "redis")
        ready = stack.browser().get("/readyz")
        assert (ready.status_code, ready.json()["redis"]) == (503, False)
        assert is_served(stack, "/livez")
        assert is_served(stack, "/")
        assert is_served(stack, "/accounts/login/")

        sender.say("meanwhile")
        stack.containers("redis")[0].start()
        for room in (sender, receiver):
            assert room.receive() == ("ada", "meanwhile")
        eventually("/readyz answers 200", lambda: is_served(stack, "/readyz"))
        with stack.room("redis", browser) as newcomer:
            newcomer.say("hello")
            for room in (sender, receiver, newcomer):
                assert room.receive() == ("ada", "hello")


def test_publish_without_redis(stack):
    """A message sent during a Redis outage is stored, and delivered once when it is sent again."""
    browser = stack.browser("ada")
    key = str(uuid4())
    with stack.room("away", browser) as room:
        kill(stack, "redis")
        try:
            room.say("into the void", key)
            with pytest.raises(ConnectionClosed) as closed:
                room.receive_type("message", timeout=30)
            assert closed.value.rcvd.code == 4500  # server error: reconnect and send it again
            page = browser.get("/rooms/away/").raise_for_status().text
            assert "into the void" in page
        finally:
            stack.compose("start", "redis")
    eventually("/readyz answers 200", lambda: is_served(stack, "/readyz"))
    with stack.room("away", browser) as room:
        room.say("into the void", key)
        room.say("and more")
        assert [room.receive()[1] for _ in range(2)] == ["into the void", "and more"]
    assert browser.get("/rooms/away/").text.count("into the void") == 1


def test_unresponsive_replica(stack):
    """A timed-out request is not retried, and its replica is used as soon as it answers again."""
    before = time.time()
    stack.compose("pause", stack.pages)
    try:
        for _ in stack.containers(stack.pages):
            started = time.monotonic()
            assert stack.browser().get("/").status_code == 504
            assert time.monotonic() - started < 14  # REQUEST_TIMEOUT is 8 s
    finally:
        stack.compose("unpause", stack.pages)
        served = [is_served(stack, "/") for _ in range(10)]
        # Docker reports a paused container as unhealthy until its next health check.
        eventually("healthy", lambda: all_healthy(stack))
    assert served == [True] * 10
    pages = [line for line in stack.json_logs("nginx", since=before) if line["path"] == "/"]
    timed_out = [line["upstream"].count(":8000") for line in pages if line["status"] == 504]
    assert timed_out == [1, 1]


@pytest.mark.parametrize("stopped", ["sockets", "pages"])
def test_stopped_service(stack, stopped):
    """Requests to a service without replicas get 502 or 504; the other service keeps working."""
    service = "app" if stopped == "sockets" else stack.pages
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
    eventually("nginx passes its health check", lambda: failed_health_checks(stack) == 0)


def test_unfinished_uploads(stack):
    """Uploads that never finish do not crash nginx."""
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
                break  # refused: the memory for uploads is full
        assert stack.browser().get("/").status_code == 200
    assert "exited on signal" not in "".join(stack.logs("nginx"))
    nginx.reload()
    assert (nginx.attrs["State"]["StartedAt"], nginx.attrs["RestartCount"]) == (started, 0)
    eventually("a page after the uploads", lambda: is_served(stack, "/"))


def test_nginx_restart(stack):
    """nginx can be killed and started again."""
    with stack.socket("/ws/echo/") as before:
        kill(stack, "nginx")
        with pytest.raises(ConnectionClosed):
            before.recv(timeout=20)
    assert not is_served(stack, "/")
    stack.compose("start", "nginx")
    eventually("a page", lambda: is_served(stack, "/"))
    with stack.socket("/ws/echo/") as after:
        after.send("hello")
        assert after.recv(timeout=20) == "hello"


def test_stopped_replica(stack):
    """A stopping replica asks its sockets to reconnect (4000), and the other replica takes over."""
    browser = stack.browser("ada")
    with stack.room("deploy", browser) as room:
        app = stack.replica(room.replica)
        app.stop(timeout=75)
        room.receive_type("reconnect")
        with pytest.raises(ConnectionClosed) as closed:
            room.connection.recv(timeout=20)
    assert closed.value.rcvd.code == 4000  # reconnect
    app.reload()
    assert app.attrs["State"]["ExitCode"] == 0
    for _ in range(20):
        assert is_served(stack, "/")
    with stack.room("deploy", browser) as room:
        assert not app.id.startswith(room.replica)
    app.start()
