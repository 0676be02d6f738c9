"""Pages, through nginx."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.odd import opening
from tests.stack import Stack, execute


@pytest.fixture(scope="module")
def page(stack: Stack) -> httpx.Response:
    """The first page, as a stranger gets it."""
    return stack.browser().get("/", headers={"Accept-Encoding": "gzip"}).raise_for_status()


def links(page: httpx.Response) -> list[str]:
    """Return the addresses of the static files that a page uses."""
    return re.findall(r'(?:src|href)="([^"]*/static/[^"]+)"', page.text)


def test_a_page_is_there_and_compressed(page):
    assert "<h2" in page.text
    assert page.headers["content-encoding"] == "gzip"


def test_static_files_have_hashed_names_and_may_be_kept_for_ever(stack, page):
    assert len(links(page)) >= 3
    for link in links(page):
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", link)
        answer = stack.browser().get(link)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_static_files_come_compressed_from_nginx_and_not_from_the_application(stack, page):
    (style,) = [link for link in links(page) if link.endswith(".css")]
    headers = {"Accept-Encoding": "gzip", "User-Agent": uuid4().hex}
    answer = stack.browser().get(style, headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    line = stack.logged(headers["User-Agent"])
    assert line["bytes"] == int(answer.headers["content-length"])
    assert line["upstream"] == ""


def test_the_application_sees_the_client_the_scheme_and_the_host_and_not_the_proxy(stack):
    headers = {"User-Agent": uuid4().hex}
    seen = stack.browser("root").get("/whoami/", headers=headers).raise_for_status().json()
    assert seen["client"] == stack.logged(headers["User-Agent"])["client"]
    assert seen["scheme"] == "http"
    assert seen["host"] == f"localhost:{stack.port}"


def test_what_a_client_claims_about_itself_counts_for_nothing(stack):
    lies = {
        "X-Forwarded-For": "8.8.8.8",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "8.8.8.8",
        "Forwarded": "for=8.8.8.8;proto=https;host=evil.example",
        "Daphne-Root-Path": "/evil",
    }
    seen = stack.browser("root").get("/whoami/", headers=lies).raise_for_status().json()
    assert seen["scheme"] == "http"
    assert seen["client"] != "8.8.8.8"
    assert seen["host"] == f"localhost:{stack.port}"
    assert seen["root_path"] == ""


def test_nobody_tells_which_server_it_is(stack):
    answer = stack.browser().get("/")
    assert answer.headers.get_list("server") == ["nginx"]


def test_an_upload_over_the_limit_is_refused(stack):
    answer = stack.browser().post("/accounts/login/", content=b"x" * (10 * 1024**2 + 1))
    assert answer.status_code == 413


def test_an_upload_within_the_limit_arrives_whole(stack):
    content = "0123456789" * 200_000
    answer = stack.browser().post("/extra/who/", content=content).raise_for_status()
    assert answer.json()["body"] == content


def test_a_request_that_dribbles_in_byte_by_byte_is_cut(stack):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        client.settimeout(0.25)
        while time.monotonic() - started < 20:
            try:
                client.sendall(b"x")
                if client.recv(1024):
                    break  # nginx says why: 408
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert time.monotonic() - started < 14  # nginx has 10 s for all of the headers


def test_a_streamed_response_arrives_piece_by_piece(stack):
    arrived = []
    with stack.browser().stream("GET", "/extra/events/") as answer:
        for piece in answer.iter_text():
            arrived.append((piece, time.monotonic()))
    pieces, times = zip(*arrived, strict=True)
    assert "".join(pieces) == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    # Two of them may come at once, where a machine is busy.
    assert times[-1] - times[0] > 0.5


def connections(stack: Stack) -> set[str]:
    """Return the connections to the application, open or just closed, by their peer."""
    peers = set()
    for app in stack.containers(stack.pages):
        _, table = execute(app, ["cat", "/proc/net/tcp"])
        peers |= set(re.findall(r": \w+:1F40 (\w+:\w+) ", table.decode()))
    return peers


def test_connections_are_kept_open_between_requests(stack):
    before = connections(stack)
    with stack.browser() as browser:
        local = set()
        for _ in range(50):
            answer = browser.get("/extra/who/").raise_for_status()
            local.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(local) == 1
    # For each of nginx's workers one to each replica, and not one for each request.
    assert len(connections(stack) - before) <= 10


def test_a_handshake_that_is_refused_costs_no_other_request_its_answer(stack):
    """Servers close its connection, which nginx must not give to somebody else."""
    host = f"localhost:{stack.port}"
    refused = opening(stack.port, "/ws/echo/", "", {"Sec-WebSocket-Key": []})
    posted = f"POST /accounts/logout/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"

    def ask(request: bytes) -> int:
        with socket.create_connection(("localhost", stack.port), timeout=20) as client:
            client.sendall(request)
            return int(client.recv(1024).split()[1])

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(ask, [refused, posted.encode()] * 3000))
    assert set(statuses[::2]) == {400}
    assert set(statuses[1::2]) == {403}  # for want of a CSRF token
