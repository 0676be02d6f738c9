"""Tickets, by which non-browser clients open sockets."""

import re
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest
from websockets import InvalidStatus
from websockets.sync.client import ClientConnection

from tests.boot.test_sockets import close_code
from tests.stack import PASSWORD, Room, Stack, eventually, form


def request_ticket(browser: httpx.Client) -> httpx.Response:
    """Request a ticket."""
    return browser.post("/accounts/ticket/", data=form(browser))


def open_socket(stack: Stack, ticket: str) -> AbstractContextManager[ClientConnection]:
    """Open a socket with a ticket, without cookies or an Origin."""
    headers = {"Authorization": f"Ticket {ticket}"}
    return stack.socket("/ws/rooms/lobby/", origin=None, headers=headers)


def handshake_status(stack: Stack, ticket: str) -> int:
    """Return the status that answers a handshake with a ticket."""
    try:
        with open_socket(stack, ticket):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@contextmanager
def redis_paused(stack: Stack) -> Iterator[None]:
    """Pause Redis, so that it does not answer."""
    stack.compose("pause", "redis")
    try:
        yield
    finally:
        stack.compose("unpause", "redis")
    # Docker reports it as unhealthy until its next health check.
    eventually("healthy", lambda: stack.containers("redis")[0].health == "healthy")


def test_readme_example(stack):
    """The README's example of a non-browser client opens a socket."""
    readme = (stack.project / "README.md").read_text()
    examples = re.findall(r"\n\n((?:    .*\n+)+)", readme)
    (example,) = [code for code in examples if "/accounts/ticket/" in code]
    example = example.replace("https://example.com", stack.url)
    example = example.replace("wss://example.com", stack.url.replace("http", "ws"))
    printed: list[str] = []
    exec(textwrap.dedent(example), {"PASSWORD": PASSWORD, "print": printed.append})
    assert '"welcome"' in printed[0]
    assert '"ada"' in printed[0]


def test_ticket_is_single_use(stack):
    """A ticket opens one socket, on any replica."""
    browser = stack.browser("ada")
    answer = request_ticket(browser)
    assert (answer.status_code, answer.json()["seconds"]) == (200, 8)
    assert "no-store" in answer.headers["cache-control"]
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda _: handshake_status(stack, answer.json()["ticket"]), range(8))
    assert sorted(statuses) == [101] + [403] * 7


def test_ticket_expires(stack):
    """A ticket expires after WS_TICKET_SECONDS."""
    ticket = request_ticket(stack.browser("ada")).json()["ticket"]
    time.sleep(8.5)  # WS_TICKET_SECONDS is 8; an earlier attempt would use the ticket up
    assert handshake_status(stack, ticket) == 403


def test_invalid_ticket(stack):
    """An invalid ticket is refused, even with a session cookie and the site's Origin."""
    browser, headers = stack.browser("ada"), {"Authorization": "Ticket guessed"}
    with (
        pytest.raises(InvalidStatus) as refused,
        stack.socket("/ws/echo/", browser, headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_ticket_without_login(stack):
    """An anonymous user who requests a ticket gets 401, in JSON."""
    browser = stack.browser()
    browser.get("/accounts/login/")
    answer = request_ticket(browser)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")


def test_logout_closes_ticket_socket(stack):
    """Logging out closes a socket that was opened with a ticket."""
    browser = stack.browser("ada")
    with open_socket(stack, request_ticket(browser).json()["ticket"]) as socket:
        assert '"welcome"' in socket.recv(timeout=20)
        browser.post("/accounts/logout/", data=form(browser))
        assert close_code(Room(socket, "any")) == 4401


@pytest.mark.whole
@pytest.mark.only(topology="split")  # pages and sockets use Redis in different processes
def test_tickets_without_redis(stack):
    """While Redis does not answer, tickets are refused with 503 within 8 s."""
    browser = stack.browser("ada")
    ticket = request_ticket(browser).json()["ticket"]
    with redis_paused(stack):
        for answer in (
            lambda: handshake_status(stack, ticket),
            lambda: request_ticket(browser).status_code,
        ):
            started = time.monotonic()
            assert answer() == 503
            assert time.monotonic() - started < 8
    assert request_ticket(browser).status_code == 200
