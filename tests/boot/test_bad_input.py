"""What nobody means well, through nginx: odd requests, handshakes, frames and messages.

A failure names what was sent; the generator of tests/odd.py makes it again from the same seed.
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

from tests import odd
from tests.stack import Stack, cookie_header, eventually

pytestmark = pytest.mark.whole

ROUNDS = 600
"""How many of each are sent; of requests, which are quick, five times as many."""
PATIENCE = 30
"""Seconds within which there is an answer or a close, whatever was sent."""
QUIET = 0.2
"""Seconds without a byte after which an answer is taken for complete."""
MORE_MEMORY = 100_000_000
"""Bytes that a replica may have gained afterwards: what its caches hold, not what was sent."""

# A status of 500 and more that is proper, because it says what nginx does not do.
PROPER = {
    501: rb"(?i)transfer-encoding",  # a coding that it does not know: RFC 9112, section 6.1
    505: rb"HTTP/",  # a version that it does not speak: RFC 9110, section 15.6.6
}
# An error or worse of ours, of Postgres or of nginx; or a status of 500 and more.
ALARM = re.compile(
    r'Traceback|"level": ?"(ERROR|CRITICAL)"|\b(ERROR|FATAL|PANIC): |\[(error|crit|alert|emerg)\]'
    r'|"status":5(0[02-4]|0[6-9]|[1-9])'
)
EXPECTED = re.compile(
    # What nginx calls an error, and is one of the client.
    "client (intended to send too large body|sent invalid chunked body)"
    # Of two first wrong passwords at the same moment, the later one then takes the earlier's row:
    # https://docs.djangoproject.com/en/5.2/ref/models/querysets/#get-or-create
    '|duplicate key value violates unique constraint "axes_accessattempt_'
)


@pytest.fixture
def unharmed(stack: Stack) -> Iterator[None]:
    """Assert that after a test all is as well as it was before, and that nothing raised alarm."""

    def states() -> list[tuple]:
        containers = [each for name in stack.all_services for each in stack.containers(name)]
        return [(each.name, each.attrs["State"]["StartedAt"], each.health) for each in containers]

    def memory() -> list[int]:
        found = [app.stats(stream=False, one_shot=True) for app in stack.replicas()]
        return [each["memory_stats"]["usage"] for each in found]

    def alarms() -> list[str]:
        lines = [line for name in stack.all_services for line in stack.logs(name, since=started)]
        return [line for line in lines if ALARM.search(line) and not EXPECTED.search(line)]

    eventually("all is healthy", lambda: {health for *_, health in states()} == {"healthy"})
    before, memory_before, started = states(), memory(), time.time()
    yield
    eventually("ready", lambda: stack.browser().get("/readyz").status_code == 200)
    assert alarms() == []
    assert states() == before
    for now, then in zip(memory(), memory_before, strict=True):
        assert now - then < MORE_MEMORY


def receive(client: socket.socket, so_far: bytes = b"") -> bytes:
    """Return what comes, and what came so far, until the other side closes or is quiet.

    Raises:
        TimeoutError: neither an answer nor a close, for PATIENCE.
    """
    with suppress(ConnectionError):
        while True:
            client.settimeout(QUIET if so_far else PATIENCE)
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
    """Send bytes to nginx, and return what comes back. Raises TimeoutError as receive does."""
    with socket.create_connection(("localhost", port), timeout=PATIENCE) as client:
        with suppress(ConnectionError):  # closed before the end, because of the start
            client.sendall(data)
        return receive(client)


def statuses(request: bytes, answer: bytes) -> set[int]:
    """Return the statuses of what was answered. Raises AssertionError if one is our error."""
    found = {int(status) for status in re.findall(rb"(?m)^HTTP/1\.[01] (\d{3}) ", answer)}
    for status in found:
        assert status < 500 or re.search(PROPER.get(status, rb"(?!)"), request), (status, request)
    return found


def at_once(ask: Callable, questions: Iterable) -> list:
    """Return the answers to all questions, of which several are asked at a time."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, questions))


def test_odd_requests_are_answered_or_closed(stack, unharmed):
    host, browser = f"localhost:{stack.port}", stack.browser("ada")
    logged_in = f"Cookie: {cookie_header(browser)}\r\nX-CSRFToken: {browser.cookies['csrftoken']}"

    def ask(seed: int) -> set[int]:
        request = odd.request(Random(seed), host, logged_in)
        answer = exchange(stack.port, request)
        assert not re.search(rb"(?im)^(X-Evil|Location: *(https?:)?//evil)", answer), request
        assert b"root:x:0" not in answer, request
        assert b"PROJECT_NAME" not in answer, request
        return statuses(request, answer)

    assert set().union(*at_once(ask, range(5 * ROUNDS))) > {200, 302, 400, 403, 404, 405}


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/ws/echo/", "/static/x"])
def test_no_request_is_smuggled_past_nginx(stack, unharmed, path):
    """What nginx takes for a body, the application does not take for a request."""
    started, requests = time.time(), odd.smuggling(path, f"localhost:{stack.port}")
    at_once(lambda request: statuses(request, exchange(stack.port, request)), requests)

    def asked() -> int:
        lines = stack.json_logs("nginx", since=started)
        return sum(line["path"] == "/smuggled" for line in lines)

    time.sleep(1)  # until the application has logged what it took for a request
    lines = [line for service in stack.services for line in stack.logs(service, since=started)]
    taken = sum("/smuggled" in line for line in lines)
    eventually("all that were taken in the log of nginx", lambda: taken <= asked())


def test_odd_handshakes_are_taken_or_refused(stack, unharmed):
    cookie = cookie_header(stack.browser("ada"))

    def ask(seed: int) -> set[int]:
        request = odd.handshake(Random(seed), stack.port, cookie)
        return statuses(request, exchange(stack.port, request))

    assert set().union(*at_once(ask, range(ROUNDS))) > {101, 400, 403}


def test_odd_frames_are_answered_or_closed(stack, unharmed):
    cookie = cookie_header(stack.browser("ada"))

    def ask(seed: int) -> set[int]:
        random = Random(seed)
        path = random.choice(["/ws/echo/", "/ws/rooms/frames/"])
        opening = odd.opening(stack.port, path, cookie, {})
        frames = b"".join(odd.frame(random) for _ in range(random.randrange(1, 6)))
        with socket.create_connection(("localhost", stack.port), timeout=PATIENCE) as client:
            client.sendall(opening)
            head = client.recv(65536)
            with suppress(ConnectionError):  # closed before the end, because of the start
                client.sendall(random.choice([frames] * 9 + [odd.some_bytes(random, 2000)]))
            return statuses(opening, receive(client, head))

    assert at_once(ask, range(ROUNDS)) == [{101}] * ROUNDS


def test_odd_messages_are_answered_or_closed(stack, unharmed):
    browser = stack.browser("ada")

    def ask(seed: int) -> int | None:
        message = odd.message(Random(seed))
        with stack.socket("/ws/rooms/messages/", browser) as room:
            try:
                room.send(message)
                room.send('{"type":"ping"}')
                while json.loads(room.recv(timeout=PATIENCE))["type"] != "pong":
                    pass
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else None
                assert code in {4409, 4429}, (code, message[:300])
                return code
        return None

    assert set(at_once(ask, range(ROUNDS))) >= {None, 4409}


def test_whatever_is_sent_to_the_echo_comes_back(stack, unharmed):
    with stack.socket("/ws/echo/") as echo:
        for seed in range(ROUNDS):
            message = odd.message(Random(seed))
            echo.send(message)
            assert echo.recv(timeout=PATIENCE) == message
