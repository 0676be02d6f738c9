"""Pages over WSGI: the same behaviour as over ASGI."""

import io
import json
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from config.readiness import READINESS_CHECKS
from config.wsgi import application
from serve import wsgi
from serve.request_id import AddRequestId
from serve.web_worker import PatchedThreadWorker
from tests.test_server import start

FORWARDED = {"HTTP_X_FORWARDED_FOR": "8.8.8.8, 203.0.113.7", "HTTP_X_FORWARDED_PROTO": "https"}


def call(application, path: str = "/", peer: str = "10.0.0.1", **environ) -> tuple[str, bytes]:
    """Return the status and the body of the response to a GET."""
    statuses = []
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": peer}
    body = b"".join(application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], body


def received_environ(path: str = "/", peer: str = "10.0.0.1", root_path="", **environ) -> dict:
    """Return the environ that the application behind the middleware receives."""
    environs = []

    def app(environ, start_response) -> list:
        environs.append(environ)
        start_response("200 OK", [])
        return []

    middleware = wsgi.ForwardedHeadersMiddleware(
        app, trusted_proxies=["10.0.0.0/8"], root_path=root_path
    )
    call(middleware, path, peer, **environ)
    return environs[0]


@pytest.mark.parametrize("peer", ["10.0.0.1", ""])
def test_trusted_proxy(peer):
    """The headers of a trusted proxy, and of a peer on a Unix socket, are applied."""
    environ = received_environ(peer=peer, **FORWARDED)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("203.0.113.7", "https")


def test_untrusted_peer():
    """The headers of any other peer are ignored, even if the server has applied them."""
    environ = received_environ(peer="203.0.113.9", **FORWARDED, **{"wsgi.url_scheme": "https"})
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("203.0.113.9", "http")


@pytest.mark.parametrize(
    ("path", "rest"), [("/chat/rooms/", "/rooms/"), ("/chatter/", "/chatter/"), ("/", "/")]
)
def test_root_path(path, rest):
    """The root path is removed from the path."""
    environ = received_environ(path, root_path="/chat")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/chat", rest)


def test_request_id():
    """Log records have the id of their request, and not that of the thread's last one."""

    def log(environ, start_response) -> list:
        record = logging.makeLogRecord({})
        AddRequestId().filter(record)
        start_response(getattr(record, "request_id", "none"), [])
        return []

    application = wsgi.RequestIdMiddleware(log)
    assert call(application, HTTP_X_REQUEST_ID="4711")[0] == "4711"
    assert call(application)[0] == "none"


def test_health(transactional_db):
    """/livez and /readyz answer whatever the Host header says, and /readyz runs the checks."""
    assert call(application, "/livez") == ("200 OK", b'{"live": true}')
    assert call(application, "/readyz") == ("200 OK", b'{"database": true}')

    async def refuse():
        raise ConnectionRefusedError

    checks = {**READINESS_CHECKS, "redis": refuse}
    status, body = call(wsgi.HealthMiddleware(application, checks=checks), "/readyz")
    assert status == "503 Service Unavailable"
    assert json.loads(body) == {"database": True, "redis": False}


def test_checks_run_once_a_second():
    """Many requests for /readyz in one second run the checks once."""
    runs = []

    async def check() -> None:
        runs.append("")

    health = wsgi.HealthMiddleware(application, checks={"database": check})
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: call(health, "/readyz")[0], range(20)))
    assert answers == ["200 OK"] * 20
    assert len(runs) == 1
    health.valid_until = 0
    call(health, "/readyz")
    assert len(runs) == 2


def test_draining(transactional_db):
    """/readyz is 503 in a process that stops or was drained by hand, and /livez is 200."""
    draining = {wsgi.DRAINING: True}
    assert call(application, "/readyz", **draining)[0] == "503 Service Unavailable"
    worker = PatchedThreadWorker.__new__(PatchedThreadWorker)  # without gunicorn's master
    worker.application = application
    assert worker.drain() == 0
    assert call(worker.call, "/readyz")[0] == "503 Service Unavailable"
    assert call(worker.call, "/livez")[0] == "200 OK"
    worker.resume()
    assert call(worker.call, "/readyz")[0] == "200 OK"


def test_connection_limit():
    """A process that is full answers pages with 503, and health checks as ever."""
    full = {wsgi.FULL: True}
    assert call(application, "/", **full) == ("503 Service Unavailable", b"")
    assert call(application, "/livez", **full)[0] == "200 OK"


def test_no_async_middleware(settings):
    """Django's middleware over WSGI is without the async one, which costs an event loop a page."""
    assert "config.staticfiles.Middleware" not in settings.MIDDLEWARE


def test_stop(tmp_path):
    """A stopping server answers on open connections, and closes them with the next response."""
    server, bind = start("serve.web", tmp_path)
    try:
        with closing(HTTPConnection(bind, timeout=20)) as client:
            lines = []
            for line in server.stdout:
                lines.append(line)
                if "Booting worker" in line:
                    break
            client.request("GET", "/livez")
            kept = client.getresponse()
            assert (kept.status, kept.will_close) == (200, False)
            kept.read()
            server.send_signal(signal.SIGTERM)
            for line in server.stdout:
                lines.append(line)
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
    lines += output.splitlines()
    assert all(json.loads(line)["message"] for line in lines)


@pytest.mark.parametrize("charset", ["idna", "zlib"])
@pytest.mark.parametrize("query", ["a=1&" * 2000, "a=%00"])
def test_bad_query(query, charset, transactional_db):
    """A query that cannot be parsed is the client's error, and not a 500."""
    request = {"QUERY_STRING": query, "CONTENT_TYPE": f"text/plain; charset={charset}"}
    server = {"HTTP_HOST": "testserver", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http"}
    status, _ = call(application, **request, **server)
    assert int(status.split()[0]) < 500
