"""HTTP through nginx."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.fuzz import opening
from tests.stack import Stack, execute


@pytest.fixture(scope="module")
def page(stack: Stack) -> httpx.Response:
    """The home page, requested by an anonymous user."""
    return stack.browser().get("/", headers={"Accept-Encoding": "gzip"}).raise_for_status()


def links(page: httpx.Response) -> list[str]:
    """Return the URLs of the static files that a page links to."""
    return re.findall(r'(?:src|href)="([^"]*/static/[^"]+)"', page.text)


def test_page_compressed(page):
    """Pages are served, compressed with gzip."""
    assert "<h2" in page.text
    assert page.headers["content-encoding"] == "gzip"


def test_static_caching(stack, page):
    """Static files have hashed names and may be cached for a year."""
    assert len(links(page)) >= 3
    for link in links(page):
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", link)
        answer = stack.browser().get(link)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_static_compression(stack, page):
    """Static files come compressed from nginx, without a request to the application."""
    (style,) = [link for link in links(page) if link.endswith(".css")]
    headers = {"Accept-Encoding": "gzip", "User-Agent": uuid4().hex}
    answer = stack.browser().get(style, headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    line = stack.logged(headers["User-Agent"])
    assert line["bytes"] == int(answer.headers["content-length"])
    assert line["upstream"] == ""


def test_forwarded_headers(stack):
    """The application sees the client's address, scheme and host, not nginx's."""
    headers = {"User-Agent": uuid4().hex}
    seen = stack.browser("root").get("/whoami/", headers=headers).raise_for_status().json()
    assert seen["client"] == stack.logged(headers["User-Agent"])["client"]
    assert seen["scheme"] == "http"
    assert seen["host"] == f"localhost:{stack.port}"


def test_spoofed_headers(stack):
    """Forwarded headers that a client sends are ignored."""
    spoofed = {
        "X-Forwarded-For": "8.8.8.8",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "8.8.8.8",
        "Forwarded": "for=8.8.8.8;proto=https;host=evil.example",
        "Daphne-Root-Path": "/evil",
    }
    seen = stack.browser("root").get("/whoami/", headers=spoofed).raise_for_status().json()
    assert seen["scheme"] == "http"
    assert seen["client"] != "8.8.8.8"
    assert seen["host"] == f"localhost:{stack.port}"
    assert seen["root_path"] == ""


def test_server_header(stack):
    """The Server header names only nginx."""
    answer = stack.browser().get("/")
    assert answer.headers.get_list("server") == ["nginx"]


def test_upload_over_limit(stack):
    """An upload over MAX_BODY_BYTES is refused with 413."""
    answer = stack.browser().post("/accounts/login/", content=b"x" * (10 * 1024**2 + 1))
    assert answer.status_code == 413


def test_upload_within_limit(stack):
    """An upload within MAX_BODY_BYTES arrives unchanged."""
    content = "0123456789" * 200_000
    answer = stack.browser().post("/extra/who/", content=content).raise_for_status()
    assert answer.json()["body"] == content


def test_slow_headers(stack):
    """A request whose headers arrive byte by byte is cut off after 10 s."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        client.settimeout(0.25)
        while time.monotonic() - started < 20:
            try:
                client.sendall(b"x")
                if client.recv(1024):
                    break  # nginx answers 408
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert time.monotonic() - started < 14  # client_header_timeout is 10 s


def test_streamed_response(stack):
    """A streamed response arrives piece by piece."""
    arrived = []
    with stack.browser().stream("GET", "/extra/events/") as answer:
        for piece in answer.iter_text():
            arrived.append((piece, time.monotonic()))
    pieces, times = zip(*arrived, strict=True)
    assert "".join(pieces) == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    # On a busy machine, two of them may arrive together.
    assert times[-1] - times[0] > 0.5


def connections(stack: Stack) -> set[str]:
    """Return the peers of the connections to the application, open or just closed."""
    peers = set()
    for app in stack.containers(stack.pages):
        _, table = execute(app, ["cat", "/proc/net/tcp"])
        peers |= set(re.findall(r": \w+:1F40 (\w+:\w+) ", table.decode()))
    return peers


def test_upstream_keepalive(stack):
    """Connections are kept open between requests, to nginx and from nginx to the application."""
    before = connections(stack)
    with stack.browser() as browser:
        local = set()
        for _ in range(50):
            answer = browser.get("/extra/who/").raise_for_status()
            local.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(local) == 1
    # One for each pair of nginx worker and replica, instead of one for each request.
    assert len(connections(stack) - before) <= 10


def test_refused_handshakes_and_requests(stack):
    """Refused handshakes fail no other request.

    Servers close the connection of a refused handshake; nginx must not reuse it.
    """
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
    assert set(statuses[1::2]) == {403}  # without a CSRF token
