"""Pages over WSGI: what is so over ASGI is so here, too."""

import io
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from config import contract
from config.contract import BASE_DIR
from config.wsgi import application
from realtime import health, proxy, wsgi
from realtime.request_id import AddRequestId


def call(application, path: str = "/", peer: str = "10.0.0.1", **environ) -> tuple[str, bytes]:
    """Return the status and the body of an answer to a GET."""
    statuses = []
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": peer}
    body = b"".join(application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], body


def seen(path: str = "/", peer: str = "10.0.0.1", root: str = "", **environ) -> dict:
    """Return the environ that the application behind the proxy gets."""
    environs = []

    def see(environ, start_response) -> list:
        environs.append(environ)
        start_response("200 OK", [])
        return []

    call(wsgi.Proxy(see, root), path, peer, **environ)
    return environs[0]


@pytest.fixture
def _proxies(monkeypatch):
    networks = contract.networks("10.0.0.0/8")
    monkeypatch.setattr(proxy, "TRUSTED", [proxy.ip_network(network) for network in networks])
    proxy.trusted.cache_clear()
    yield
    proxy.trusted.cache_clear()


SAID = {"HTTP_X_FORWARDED_FOR": "8.8.8.8, 203.0.113.7", "HTTP_X_FORWARDED_PROTO": "https"}


@pytest.mark.usefixtures("_proxies")
@pytest.mark.parametrize("peer", ["10.0.0.1", ""])  # a Unix socket has none
def test_a_trusted_proxy_and_a_unix_socket_are_believed(peer):
    environ = seen(peer=peer, **SAID)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("203.0.113.7", "https")


@pytest.mark.usefixtures("_proxies")
def test_a_stranger_is_not_even_where_the_server_has_believed_it():
    environ = seen(peer="203.0.113.9", **SAID, **{"wsgi.url_scheme": "https"})
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("203.0.113.9", "http")


@pytest.mark.parametrize(
    ("path", "rest"), [("/chat/rooms/", "/rooms/"), ("/chatter/", "/chatter/"), ("/", "/")]
)
def test_the_root_path_is_taken_off_the_path(path, rest):
    environ = seen(path, root="/chat")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/chat", rest)


def test_what_is_logged_has_the_id_of_its_request_and_not_of_the_one_before():
    def log(environ, start_response) -> list:
        record = logging.makeLogRecord({})
        AddRequestId().filter(record)
        start_response(getattr(record, "request_id", "none"), [])
        return []

    application = wsgi.RequestId(log)
    assert call(application, HTTP_X_REQUEST_ID="4711")[0] == "4711"
    assert call(application)[0] == "none"


def test_health_is_told_whatever_the_host(transactional_db, monkeypatch):
    assert call(application, "/livez") == ("200 OK", b'{"live": true}')
    assert call(application, "/readyz") == ("200 OK", b'{"database": true}')

    async def refuse():
        raise ConnectionRefusedError

    monkeypatch.setitem(health.CHECKS, "redis", refuse)
    status, body = call(wsgi.Health(application), "/readyz")
    assert status == "503 Service Unavailable"
    assert json.loads(body) == {"database": True, "redis": False}


def test_health_asks_once_a_second_for_all_who_want_to_know(monkeypatch):
    asked = []

    async def ask() -> None:
        asked.append("")

    monkeypatch.setattr(health, "CHECKS", {"database": ask})
    watcher = wsgi.Health(application)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: call(watcher, "/readyz")[0], range(20)))
    assert answers == ["200 OK"] * 20
    assert len(asked) == 1
    watcher.known_until = 0
    call(watcher, "/readyz")
    assert len(asked) == 2


def test_a_process_on_its_way_out_is_not_ready_nor_is_one_that_is_drained_by_hand(
    monkeypatch, tmp_path
):
    assert call(application, "/readyz", **{wsgi.DRAINING: True})[0] == "503 Service Unavailable"
    monkeypatch.setattr(contract, "DRAIN_FILE", tmp_path)
    assert call(application, "/readyz")[0] == "503 Service Unavailable"
    assert call(application, "/livez")[0] == "200 OK"


def test_where_there_is_no_time_for_a_page_there_is_for_a_probe():
    full = {wsgi.FULL: True}
    assert call(application, "/", **full) == ("503 Service Unavailable", b"")
    assert call(application, "/livez", **full)[0] == "200 OK"


def test_pages_have_no_middleware_that_would_cost_an_event_loop(settings):
    assert "config.staticfiles.Middleware" not in settings.MIDDLEWARE


def free_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to no client meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)):
                return port


def test_a_stop_answers_who_comes_and_hangs_up_then(tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "serve.web"],
        cwd=BASE_DIR,
        env=os.environ | {"BIND": f"127.0.0.1:{port}", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as client:
            for line in server.stdout:
                if "Booting worker" in line:
                    break
            client.request("GET", "/livez")
            kept = client.getresponse()
            assert (kept.status, kept.will_close) == (200, False)
            kept.read()
            server.send_signal(signal.SIGTERM)
            for line in server.stdout:
                if "draining" in line:
                    break
            client.request("GET", "/readyz")
            last = client.getresponse()
            assert (last.status, last.will_close) == (503, True)
        output, errors = server.communicate(timeout=20)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0
    assert errors == ""
    assert all(json.loads(line)["message"] for line in output.splitlines())


@pytest.mark.parametrize("charset", ["idna", "zlib"])
@pytest.mark.parametrize("query", ["a=1&" * 2000, "a=%00"])
def test_a_query_that_cannot_be_read_is_no_error_of_ours(query, charset, transactional_db):
    asked = {"QUERY_STRING": query, "CONTENT_TYPE": f"text/plain; charset={charset}"}
    server = {"HTTP_HOST": "testserver", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http"}
    status, _ = call(application, **asked, **server)
    assert int(status.split()[0]) < 500
