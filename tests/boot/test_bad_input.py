"""Fuzzing through nginx: malformed requests, handshakes, frames and messages.

A failure contains the bytes that were sent; their generator repeats them from the same seed.
"""

import json
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random

import pytest
from websockets import ConnectionClosed

from tests import fuzz
from tests.stack import Stack, cookie_header, eventually

pytestmark = pytest.mark.whole

ROUNDS = 600
"""Inputs of each kind; of requests, which are quick, five times as many."""
TIMEOUT = 30
"""Seconds within which every input is answered or its connection closed."""
PAUSE = 0.2
"""Seconds without a byte after which an answer counts as complete."""
MAX_MEMORY_GROWTH = 100_000_000
"""Bytes by which a replica may grow: enough for its caches, too few to keep what was sent."""

# Statuses of 500 and more that are correct: nginx does not support what the request demands.
CORRECT_ERRORS = {
    501: rb"(?i)transfer-encoding",  # an unknown coding: RFC 9112, section 6.1
    505: rb"HTTP/",  # an unknown version: RFC 9110, section 15.6.6
}
# An error, or worse, of the application, of Postgres or of nginx; or a status of 500 and more.
ERROR = re.compile(
    r'Traceback|"level": ?"(ERROR|CRITICAL)"|\b(ERROR|FATAL|PANIC): |\[(error|crit|alert|emerg)\]'
    r'|"status":5(0[02-4]|0[6-9]|[1-9])'
)
EXPECTED = re.compile(
    # The client's errors, which nginx logs at the level "error".
    "client (intended to send too large body|sent invalid chunked body)"
    # When a user's first two wrong passwords arrive at once, the second get_or_create fails to
    # insert, and then fetches the row of the first:
    # https://docs.djangoproject.com/en/5.2/ref/models/querysets/#get-or-create
    '|duplicate key value violates unique constraint "axes_accessattempt_'
)


@pytest.fixture
def unharmed(stack: Stack) -> Iterator[None]:
    """Assert that a test leaves all containers running and healthy, and no error in their logs."""

    def states() -> list[tuple]:
        containers = [each for name in stack.all_services for each in stack.containers(name)]
        return [(each.name, each.attrs["State"]["StartedAt"], each.health) for each in containers]

    def memory() -> list[int]:
        found = [app.stats(stream=False, one_shot=True) for app in stack.replicas()]
        return [each["memory_stats"]["usage"] for each in found]

    def errors() -> list[str]:
        lines = [line for name in stack.all_services for line in stack.logs(name, since=started)]
        return [line for line in lines if ERROR.search(line) and not EXPECTED.search(line)]

    eventually(
        "all containers are healthy", lambda: {health for *_, health in states()} == {"healthy"}
    )
    before, memory_before, started = states(), memory(), time.time()
    yield
    eventually("ready", lambda: stack.browser().get("/readyz").status_code == 200)
    assert errors() == []
    assert states() == before
    for now, then in zip(memory(), memory_before, strict=True):
        assert now - then < MAX_MEMORY_GROWTH


def receive(client: socket.socket, so_far: bytes = b"") -> bytes:
    """Return the bytes received so far and those that follow, until a close or a pause.

    Raises:
        TimeoutError: neither a byte nor a close within TIMEOUT.
    """
    with suppress(ConnectionError):
        while True:
            client.settimeout(PAUSE if so_far else TIMEOUT)
            try:
                part = client.recv(65536)
            except TimeoutError:
                if so_far:
                    break
                raise
            if not part:
                break
            so_far += part
    return so_far


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes to nginx and return the answer. Raises TimeoutError as `receive` does."""
    with socket.create_connection(("localhost", port), timeout=TIMEOUT) as client:
        with suppress(ConnectionError):  # closed by nginx before all was sent
            client.sendall(data)
        return receive(client)


def statuses(request: bytes, answer: bytes) -> set[int]:
    """Return the statuses in an answer. Raises AssertionError at an unexpected server error."""
    found = {int(status) for status in re.findall(rb"(?m)^HTTP/1\.[01] (\d{3}) ", answer)}
    for status in found:
        reason = CORRECT_ERRORS.get(status, rb"(?!)")
        assert status < 500 or re.search(reason, request), (status, request)
    return found


def in_parallel(function: Callable, values: Iterable) -> list:
    """Return the results of a function for all values, computed in 16 threads."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(function, values))


def test_malformed_requests(stack, unharmed):
    """Malformed HTTP requests are answered or closed, without a server error."""
    host, browser = f"localhost:{stack.port}", stack.browser("ada")
    logged_in = f"Cookie: {cookie_header(browser)}\r\nX-CSRFToken: {browser.cookies['csrftoken']}"

    def send(seed: int) -> set[int]:
        request = fuzz.request(Random(seed), host, logged_in)
        answer = exchange(stack.port, request)
        assert not re.search(rb"(?im)^(X-Evil|Location: *(https?:)?//evil)", answer), request
        assert b"root:x:0" not in answer, request
        assert b"PROJECT_NAME" not in answer, request
        return statuses(request, answer)

    assert set().union(*in_parallel(send, range(5 * ROUNDS))) > {200, 302, 400, 403, 404, 405}


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/ws/echo/", "/static/x"])
def test_request_smuggling(stack, unharmed, path):
    """Bytes that nginx reads as a body never reach the application as a request."""
    started, requests = time.time(), fuzz.smuggling(path, f"localhost:{stack.port}")
    in_parallel(lambda request: statuses(request, exchange(stack.port, request)), requests)

    def accepted() -> int:
        lines = stack.json_logs("nginx", since=started)
        return sum(line["path"] == "/smuggled" for line in lines)

    # An absence is measured: no event marks the end of what the application may still log.
    time.sleep(1)
    lines = [line for service in stack.services for line in stack.logs(service, since=started)]
    reached = sum("/smuggled" in line for line in lines)
    eventually(
        "nginx has logged every request that reached the application", lambda: reached <= accepted()
    )


def test_malformed_handshakes(stack, unharmed):
    """Malformed WebSocket handshakes are accepted or refused, without a server error."""
    cookie = cookie_header(stack.browser("ada"))

    def send(seed: int) -> set[int]:
        request = fuzz.handshake(Random(seed), stack.port, cookie)
        return statuses(request, exchange(stack.port, request))

    assert set().union(*in_parallel(send, range(ROUNDS))) > {101, 400, 403}


def test_malformed_frames(stack, unharmed):
    """Malformed WebSocket frames are answered, or the socket is closed."""
    cookie = cookie_header(stack.browser("ada"))

    def send(seed: int) -> set[int]:
        random = Random(seed)
        path = random.choice(["/ws/echo/", "/ws/rooms/frames/"])
        opening = fuzz.opening(stack.port, path, cookie, {})
        frames = b"".join(fuzz.frame(random) for _ in range(random.randrange(1, 6)))
        with socket.create_connection(("localhost", stack.port), timeout=TIMEOUT) as client:
            client.sendall(opening)
            head = client.recv(65536)
            with suppress(ConnectionError):  # closed by nginx before all was sent
                client.sendall(random.choice([frames] * 9 + [fuzz.some_bytes(random, 2000)]))
            return statuses(opening, receive(client, head))

    assert in_parallel(send, range(ROUNDS)) == [{101}] * ROUNDS


def test_malformed_messages(stack, unharmed):
    """Malformed messages are answered, or the socket is closed with 4400 or 4429."""
    browser = stack.browser("ada")

    def send(seed: int) -> int | None:
        message = fuzz.message(Random(seed))
        with stack.socket("/ws/rooms/messages/", browser) as room:
            try:
                room.send(message)
                room.send('{"type":"ping"}')
                while json.loads(room.recv(timeout=TIMEOUT))["type"] != "pong":
                    pass
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else None
                assert code in {4400, 4429}, (code, message[:300])
                return code
        return None

    assert set(in_parallel(send, range(ROUNDS))) >= {None, 4400}


def test_echo_of_any_message(stack, unharmed):
    """The echo consumer returns every message unchanged."""
    with stack.socket("/ws/echo/") as echo:
        for seed in range(ROUNDS):
            message = fuzz.message(Random(seed))
            echo.send(message)
            assert echo.recv(timeout=TIMEOUT) == message
