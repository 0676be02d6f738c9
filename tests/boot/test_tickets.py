"""Clients that are no browser."""

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

from tests.boot.test_sockets import code
from tests.stack import PASSWORD, Room, Stack, eventually, form


def ask(browser: httpx.Client) -> httpx.Response:
    """Ask for a ticket."""
    return browser.post("/accounts/ticket/", data=form(browser))


def by(stack: Stack, ticket: str) -> AbstractContextManager[ClientConnection]:
    """Open a socket with a ticket, and with nothing else."""
    headers = {"Authorization": f"Ticket {ticket}"}
    return stack.socket("/ws/rooms/lobby/", origin=None, headers=headers)


def status(stack: Stack, ticket: str) -> int:
    """Return with what a handshake is answered."""
    try:
        with by(stack, ticket):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@contextmanager
def redis_away(stack: Stack) -> Iterator[None]:
    """Have Redis answer nobody for a while."""
    stack.compose("pause", "redis")
    try:
        yield
    finally:
        stack.compose("unpause", "redis")
    # Docker takes it for unhealthy until it has asked it again.
    eventually("healthy", lambda: stack.containers("redis")[0].health == "healthy")


def test_what_the_readme_says_opens_a_socket(stack):
    readme = (stack.project / "README.md").read_text()
    _, _, chapter = readme.partition("## Clients that are no browser\n")
    (code,) = re.findall(r"\n\n((?:    .*\n+)+)", chapter.partition("\n## ")[0])
    code = code.replace("https://example.com", stack.url)
    code = code.replace("wss://example.com", stack.url.replace("http", "ws"))
    said: list[str] = []
    exec(textwrap.dedent(code), {"PASSWORD": PASSWORD, "print": said.append})
    assert '"welcome"' in said[0]
    assert '"ada"' in said[0]


def test_a_ticket_is_good_for_one_socket_on_whichever_replica(stack):
    browser = stack.browser("ada")
    answer = ask(browser)
    assert (answer.status_code, answer.json()["seconds"]) == (200, 8)
    assert "no-store" in answer.headers["cache-control"]
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda _: status(stack, answer.json()["ticket"]), range(8))
    assert sorted(statuses) == [101] + [403] * 7


def test_a_ticket_expires(stack):
    ticket = ask(stack.browser("ada")).json()["ticket"]
    time.sleep(8.5)
    assert status(stack, ticket) == 403


def test_what_is_no_ticket_is_refused_even_with_the_cookies_of_a_page_of_this_site(stack):
    browser, headers = stack.browser("ada"), {"Authorization": "Ticket guessed"}
    with (
        pytest.raises(InvalidStatus) as refused,
        stack.socket("/ws/echo/", browser, headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_stranger_gets_no_ticket_but_an_answer_in_json(stack):
    browser = stack.browser()
    browser.get("/accounts/login/")
    answer = ask(browser)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")


def test_logging_out_closes_a_socket_that_a_ticket_opened(stack):
    browser = stack.browser("ada")
    with by(stack, ask(browser).json()["ticket"]) as socket:
        assert '"welcome"' in socket.recv(timeout=20)
        browser.post("/accounts/logout/", data=form(browser))
        assert code(Room(socket, "any")) == 4401


@pytest.mark.whole
@pytest.mark.only(topology="split")  # where a page and a socket ask Redis in different processes
def test_while_redis_does_not_answer_neither_a_ticket_nor_a_socket_is_waited_for(stack):
    browser = stack.browser("ada")
    ticket = ask(browser).json()["ticket"]
    with redis_away(stack):
        for answer in (lambda: status(stack, ticket), lambda: ask(browser).status_code):
            started = time.monotonic()
            assert answer() == 503
            assert time.monotonic() - started < 8
    assert ask(browser).status_code == 200
