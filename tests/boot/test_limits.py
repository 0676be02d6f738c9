"""nginx's limits for each client, trusted proxies and host names."""

import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from threading import Barrier

import httpx
import pytest
from docker.models.containers import Container
from websockets import InvalidStatus

from tests.boot.test_containers import child_pids
from tests.boot.test_log_in import log_in
from tests.stack import PASSWORD, Stack, eventually, execute, form

pytestmark = pytest.mark.only(asgi_server="uvicorn")

# gixy's accepted findings, with reasons.
ACCEPTED = {
    # A connection needs one file: open_file_cache keeps the static files open.
    "worker_rlimit_nofile_vs_connections",
    # Django sends it with pages: tests/boot/test_tls.py checks that.
    "hsts_header",
}


def gixy(stack: Stack, folder: Path) -> str:
    """Check the running configuration with nginx, and return gixy's report of it."""
    (nginx,) = stack.containers("nginx")
    status, dump = execute(nginx, ["nginx", "-q", "-T", "-c", "/tmp/nginx.conf"])
    assert status == 0, dump
    assert b"[warn]" not in dump
    (folder / "dump.conf").write_bytes(dump)
    return subprocess.run(
        [sys.executable, "-m", "gixy", "--skips", ",".join(ACCEPTED), folder / "dump.conf"],
        capture_output=True,
        text=True,
    ).stdout


def handshake(stack: Stack) -> int:
    """Return the status of a WebSocket handshake."""
    try:
        with stack.socket("/ws/echo/"):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_nginx_and_gixy(stack: Stack, tmp_path):
    """nginx and gixy find nothing wrong with nginx's configuration."""
    assert "No issues found" in gixy(stack, tmp_path)


def test_allowed_hosts(stack):
    """nginx interprets ALLOWED_HOSTS as Django does: case, ports, subdomains and `*`."""

    def is_answered(host: str) -> bool:
        """Return whether the application answers; it knows one host, and answers others by 400."""
        try:
            return stack.browser().get("/", headers={"Host": host}).status_code in (200, 400)
        except httpx.RemoteProtocolError:
            return False

    with stack.nginx(ALLOWED_HOSTS="localhost, .example.org,[::1],127.0.0.1"):
        allowed = ["localhost", "LOCALHOST.:1", "example.org", "a.b.Example.org", "[::1]:80"]
        others = ["example.com", "anexample.org", "example.org.evil.example", "10.0.0.1"]
        assert [host for host in [*allowed, *others] if is_answered(host)] == allowed
    with stack.nginx(ALLOWED_HOSTS="*"):
        assert is_answered("anything.example")


def test_login_rate(stack):
    """A client's log-ins are limited per minute, and its other requests are not."""
    with stack.nginx(CLIENT_LOGIN_RATE="2"):
        assert [log_in(stack, "ada", PASSWORD) for _ in range(3)] == [302] * 3
        for path in ("/accounts/login/?next=/", "/accounts/%6Cogin/", "/admin/login/"):
            assert log_in(stack, "ada", PASSWORD, path) == 429
        assert stack.browser().post("/accounts/logout/").status_code == 403  # without a CSRF token
        assert stack.browser().get("/accounts/login/").status_code == 200
        assert handshake(stack) == 101
        # One line each in the access log, and none in the error log.
        assert [line["status"] for line in stack.json_logs("nginx")].count(429) == 3
        assert not [line for line in stack.logs("nginx") if "limiting" in line]


class PasswordGuesser:
    """A browser that tries wrong passwords for a user created for it."""

    def __init__(self, stack: Stack, username: str):
        stack.add_user(username)
        self.stack, self.username, self.browser = stack, username, stack.browser()
        self.browser.get("/accounts/login/").raise_for_status()

    def guess(self, timeout: float = 20) -> int | None:
        """Try a wrong password; return the status, or None after a timeout in seconds."""
        fields = form(self.browser, username=self.username, password="guessed")
        try:
            return self.browser.post("/accounts/login/", data=fields, timeout=timeout).status_code
        except httpx.ReadTimeout:
            return None

    def checked(self) -> int:
        """Return the number of wrong passwords that django-axes has counted.

        The statuses do not show it: 429 answers the fifth wrong password and all later ones.
        """
        of_user = f"AccessAttempt.objects.filter(username={self.username!r})"
        code = "from axes.models import AccessAttempt; "
        code += f"print(sum(attempt.failures_since_start for attempt in {of_user}))"
        return int(self.stack.manage("shell", "-v0", "-c", code))


def test_concurrent_password_guesses(stack):
    """Of 31 simultaneous wrong passwords for a user, at most 7 are checked."""
    trudy, barrier = PasswordGuesser(stack, "trudy"), Barrier(31)

    def guess(_: int) -> int | None:
        barrier.wait()
        return trudy.guess()

    with ThreadPoolExecutor(31) as pool:
        statuses = set(pool.map(guess, range(31)))
    assert 1 <= trudy.checked() <= 4 + 3  # three more arrive before the fifth is counted
    assert statuses <= {200, 429}


def test_aborted_password_guesses(stack):
    """Closing the connections early gets no more than 7 passwords checked."""
    mallory = PasswordGuesser(stack, "mallory")
    assert None in {mallory.guess(timeout=0.03) for _ in range(20)}
    assert 1 <= eventually("a password is checked", mallory.checked) <= 4 + 3


def test_client_sockets(stack):
    """A client's open sockets are limited to CLIENT_MAX_SOCKETS."""
    with stack.nginx(CLIENT_MAX_SOCKETS="3"):
        with ExitStack() as open_ones:
            for _ in range(3):
                open_ones.enter_context(stack.socket("/ws/echo/"))
            assert handshake(stack) == 429
            stack.browser().get("/").raise_for_status()
        eventually("another socket is accepted", lambda: handshake(stack) == 101)


def test_client_handshake_rate(stack):
    """A client's handshakes are limited to CLIENT_WS_RATE a second, with a burst of 20 s."""
    with stack.nginx(CLIENT_WS_RATE="1"):
        started = time.monotonic()
        statuses = (handshake(stack) for _ in range(300))
        allowed = sum(1 for _ in takewhile(lambda status: status == 101, statuses))
        most = 21 + int(time.monotonic() - started) + 1  # a burst of 20 s, and one a second
        assert 21 <= allowed <= most
        stack.browser().get("/").raise_for_status()


def test_client_concurrent_requests(stack):
    """A client's concurrent requests are limited to CLIENT_MAX_REQUESTS."""
    with stack.nginx(CLIENT_MAX_REQUESTS="2"), ExitStack() as uploads:
        for _ in range(2):
            # nginx waits 20 s for the last byte.
            upload = socket.create_connection(("127.0.0.1", stack.port))
            uploads.enter_context(upload)
            upload.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx")
        eventually("the limit is reached", lambda: stack.browser().get("/").status_code == 429)
        assert stack.browser().get("/static/missing.css").status_code == 429
        assert stack.browser().get("/livez").status_code == 200
        assert handshake(stack) == 101


@pytest.fixture(scope="module")
def root(stack) -> httpx.Client:
    """Return a browser of an administrator, who may see /whoami/."""
    return stack.browser("root")


FORWARDED = {"X-Forwarded-For": "192.0.2.1, 203.0.113.7", "X-Forwarded-Proto": "https"}


def test_trusted_proxy(stack, root):
    """A trusted proxy's headers determine the client's address and the scheme."""
    peer = root.get("/whoami/").json()["client"]
    with stack.nginx(
        NGINX_TRUSTED_PROXIES=f"198.51.100.0/24, {peer},2001:db8::/32", HTTPS_ONLY="true"
    ):
        seen = root.get("/whoami/", headers=FORWARDED).json()
        assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "https")
        (static,) = re.findall(r'href="(/static/[^"]+\.css)"', root.get("/").text)
        secure = root.get(static, headers=FORWARDED).headers
        assert secure.get_list("strict-transport-security") == ["max-age=31536000"]
        assert "strict-transport-security" not in root.get(static).headers
        further = {"X-Forwarded-For": f"203.0.113.7, 198.51.100.9, {peer}"}
        seen = root.get("/whoami/", headers=further).json()
        assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "http")


def test_limits_behind_trusted_proxy(stack, root):
    """Behind a trusted proxy, limits apply to each IPv4 address and each IPv6 /64."""
    peer = root.get("/whoami/").json()["client"]

    def log_in(client: str) -> int:
        forwarded = {"X-Forwarded-For": client}
        return stack.browser().post("/accounts/login/", headers=forwarded).status_code

    with stack.nginx(NGINX_TRUSTED_PROXIES=peer, CLIENT_LOGIN_RATE="1"):
        statuses = [log_in(client) for client in ("203.0.113.7",) * 3 + ("203.0.113.8",)]
        assert statuses == [403, 403, 429, 403]
        ipv6_clients = ("2001:db8::1", "2001:db8::a:b:c:d", "2001:db8:0:0:1::", "2001:db8:0:1::1")
        assert [log_in(client) for client in ipv6_clients] == [403, 403, 429, 403]
        mapped = ("::ffff:203.0.113.9",) * 3 + ("::ffff:203.0.113.10",)
        assert [log_in(client) for client in mapped] == [403, 403, 429, 403]


def test_untrusted_proxy(stack, root):
    """Forwarded headers of an untrusted peer are ignored."""
    peer = root.get("/whoami/").json()["client"]
    with stack.nginx(NGINX_TRUSTED_PROXIES="198.51.100.0/24"):
        seen = root.get("/whoami/", headers=FORWARDED).json()
        assert (seen["client"], seen["scheme"]) == (peer, "http")


@contextmanager
def paused(containers: list[Container]) -> Iterator[None]:
    """Pause containers: the kernel still accepts connections, and no process answers."""
    try:
        for container in containers:
            container.pause()
        yield
    finally:
        for container in containers:
            container.reload()
            if container.status == "paused":
                container.unpause()


def test_client_concurrent_probes(stack, root):
    """A client may have 21 concurrent probes; further ones are refused with 429."""
    paths, peer = stack.probes, root.get("/whoami/").json()["client"]

    def probe(number: int) -> int:
        other = {"X-Forwarded-For": "203.0.113.8"} if number == 0 else {}
        return stack.browser().get(paths[number % len(paths)], headers=other).status_code

    with stack.nginx(NGINX_TRUSTED_PROXIES=peer), ThreadPoolExecutor(31) as pool:
        with paused(stack.replicas()):
            probes = [pool.submit(probe, number) for number in range(31)]
            eventually("ten are refused", lambda: sum(one.done() for one in probes) == 10, 30)
            assert {one.result() for one in probes if one.done()} == {429}
            assert not probes[0].done()
        assert Counter(one.result() for one in probes) == {200: 21, 429: 10}


def test_no_query_strings_in_logs(stack):
    """No log contains a query string, not even that of a failed request."""
    before = time.time()
    with paused(stack.replicas()):
        page = stack.browser().get("/?hidden=page", headers={"Referer": "http://a/?hidden=referer"})
        with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/?hidden=socket"):
            pass
    assert (page.status_code, refused.value.response.status_code) == (504, 504)
    stack.compose("kill", *stack.services)
    try:
        for path in ("/readyz", "/static/missing.css"):
            assert stack.browser().get(f"{path}?hidden=gone").status_code in {502, 504}
    finally:
        stack.compose("up", "--detach", "--wait", "--no-recreate")
    too_large = b"x" * (10 * 1024**2 + 1)
    for path, host in {"/static/x": "localhost", "/readyz": "localhost", "/": "a.example"}.items():
        answer = stack.browser().post(
            f"{path}?hidden=upload", content=too_large, headers={"Host": host}
        )
        assert answer.status_code == 413
    logged = [
        (line["path"], line["upstream_status"].split(", ")[-1])
        for line in stack.json_logs("nginx", since=before)
    ]
    assert {("/", "504"), ("/ws/echo/", "504")} <= set(logged)
    assert "hidden" not in "".join(stack.logs("nginx", since=before))
    eventually("an answer", lambda: stack.browser().get("/readyz").status_code == 200)
    with stack.nginx(ROOT_PATH="/chat"):
        assert stack.browser().get("/outside?hidden=path").status_code == 404
        assert "hidden" not in "".join(stack.logs("nginx"))


def is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed a connection, or sent its last answer."""
    connection.setblocking(False)
    try:
        return len(connection.recv(1024)) >= 0
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.only(asgi_server="uvicorn", topology="single")
def test_half_open_connections(stack):
    """10,000 half-open connections do not block other clients, and are closed.

    Each has sent the largest headers allowed, while uploads fill the memory reserved for them.
    """
    (nginx,) = stack.containers("nginx")
    workers = child_pids(nginx)
    address = stack.nginx_address
    most = 10 * 1024**2
    upload = f"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {most}\r\n\r\n"
    headers = "GET / HTTP/1.1\r\nHost: localhost\r\n" + f"X-Half: {'x' * 5600}\r\n" * 2
    with ExitStack() as closing:

        def connect() -> socket.socket:
            return closing.enter_context(socket.create_connection((address, 8080), timeout=5))

        half = []
        for _ in range(10_000):
            half.append(connect())
            half[-1].sendall(headers.encode())
        uploads = [connect() for _ in range(12)]
        for connection in uploads:
            connection.sendall(upload.encode() + b"x" * (most - 1))
        started = time.monotonic()
        # On a slow machine, the first ones are 10 s old here, and may be closed already.
        assert sum(not is_closed(connection) for connection in half) > 5_000
        assert not any(is_closed(connection) for connection in uploads)
        for _ in range(5):
            stack.browser().get("/").raise_for_status()
            assert handshake(stack) == 101
        assert time.monotonic() - started < 10
        eventually("all are closed", lambda: all(is_closed(connection) for connection in half))
    nginx.reload()
    assert nginx.health == "healthy"
    assert child_pids(nginx) == workers
    assert "exited on signal" not in "".join(stack.logs("nginx"))


@pytest.mark.only(asgi_server="uvicorn", topology="single")
def test_stalled_upload(stack):
    """A client that announces a body and stops sending is disconnected within 25 s."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
        started = time.monotonic()
        eventually("the connection is closed", lambda: is_closed(client), 25)
        assert time.monotonic() - started > 15
