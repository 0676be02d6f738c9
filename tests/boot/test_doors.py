"""nginx's doors: who is let in, by which name, and how many of them at a time."""

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

from tests.boot.test_containers import children
from tests.boot.test_log_in import log_in
from tests.stack import PASSWORD, Stack, eventually, execute, form

pytestmark = pytest.mark.only(asgi_server="uvicorn")

# What gixy finds, and why it stays.
ACCEPTED = {
    # A connection takes one file: the static files' are kept open by open_file_cache.
    "worker_rlimit_nofile_vs_connections",
    # Django sends it for pages; tests/boot/test_tls.py sees it there.
    "hsts_header",
}


def gixy(stack: Stack, folder: Path) -> str:
    """Have nginx and gixy read the configuration that runs, and return what gixy has to say."""
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


def test_nginx_and_gixy_find_nothing_wrong(stack: Stack, tmp_path):
    assert "No issues found" in gixy(stack, tmp_path)


def test_names_mean_to_nginx_what_they_mean_to_django(stack):
    def reached(host: str) -> bool:
        """Whether the application is, which knows one name only and has 400 for others."""
        try:
            return stack.browser().get("/", headers={"Host": host}).status_code in (200, 400)
        except httpx.RemoteProtocolError:
            return False

    with stack.nginx(ALLOWED_HOSTS="localhost, .example.org,[::1],127.0.0.1"):
        ours = ["localhost", "LOCALHOST.:1", "example.org", "a.b.Example.org", "[::1]:80"]
        others = ["example.com", "anexample.org", "example.org.evil.example", "10.0.0.1"]
        assert [host for host in [*ours, *others] if reached(host)] == ours
    with stack.nginx(ALLOWED_HOSTS="*"):
        assert reached("anything.example")


def test_log_ins_of_one_client_are_limited_and_nothing_else_of_it_is(stack):
    with stack.nginx(CLIENT_LOGIN_RATE="2"):
        assert [log_in(stack, "ada", PASSWORD) for _ in range(3)] == [302] * 3
        for path in ("/accounts/login/?next=/", "/accounts/%6Cogin/", "/admin/login/"):
            assert log_in(stack, "ada", PASSWORD, path) == 429
        assert stack.browser().post("/accounts/logout/").status_code == 403  # without its token
        assert stack.browser().get("/accounts/login/").status_code == 200
        assert handshake(stack) == 101
        # One line for each, in the access log.
        assert [line["status"] for line in stack.json_logs("nginx")].count(429) == 3
        assert not [line for line in stack.logs("nginx") if "limiting" in line]


class Guesser:
    """Somebody who tries wrong passwords for a user of their own."""

    def __init__(self, stack: Stack, username: str):
        stack.add_user(username)
        self.stack, self.username, self.browser = stack, username, stack.browser()
        self.browser.get("/accounts/login/").raise_for_status()

    def guess(self, patience: float = 20) -> int | None:
        """Return the status, or None after so many seconds."""
        fields = form(self.browser, username=self.username, password="guessed")
        try:
            return self.browser.post("/accounts/login/", data=fields, timeout=patience).status_code
        except httpx.ReadTimeout:
            return None

    def compared(self) -> int:
        """Return how many passwords axes has counted.

        Statuses do not tell: 429 is the answer to the fifth one, too, and to those after it.
        """
        of_user = f"AccessAttempt.objects.filter(username={self.username!r})"
        code = "from axes.models import AccessAttempt; "
        code += f"print(sum(attempt.failures_since_start for attempt in {of_user}))"
        return int(self.stack.manage("shell", "-v0", "-c", code))


def test_of_passwords_that_come_at_the_same_moment_few_are_compared(stack):
    trudy, everybody = Guesser(stack, "trudy"), Barrier(31)

    def guess(_: int) -> int | None:
        everybody.wait()
        return trudy.guess()

    with ThreadPoolExecutor(31) as pool:
        statuses = set(pool.map(guess, range(31)))
    assert 1 <= trudy.compared() <= 4 + 3  # of three at a time, before the fifth one is counted
    assert statuses <= {200, 429}


def test_who_hangs_up_has_no_more_passwords_compared(stack):
    mallory = Guesser(stack, "mallory")
    assert None in {mallory.guess(patience=0.03) for _ in range(20)}
    assert 1 <= eventually("a password is compared", mallory.compared) <= 4 + 3


def test_open_sockets_of_one_client_are_limited(stack):
    with stack.nginx(CLIENT_MAX_SOCKETS="3"):
        with ExitStack() as open_ones:
            for _ in range(3):
                open_ones.enter_context(stack.socket("/ws/echo/"))
            assert handshake(stack) == 429
            stack.browser().get("/").raise_for_status()
        eventually("a place for a socket", lambda: handshake(stack) == 101)


def test_handshakes_of_one_client_are_limited(stack):
    with stack.nginx(CLIENT_WS_RATE="1"):
        started = time.monotonic()
        statuses = (handshake(stack) for _ in range(300))
        allowed = sum(1 for _ in takewhile(lambda status: status == 101, statuses))
        most = 21 + int(time.monotonic() - started) + 1  # 20 s at once, and what comes in time
        assert 21 <= allowed <= most
        stack.browser().get("/").raise_for_status()


def test_requests_of_one_client_at_a_time_are_limited(stack):
    with stack.nginx(CLIENT_MAX_REQUESTS="2"), ExitStack() as under_way:
        for _ in range(2):
            # Its last byte is waited for, for 20 s.
            upload = socket.create_connection(("127.0.0.1", stack.port))
            under_way.enter_context(upload)
            upload.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx")
        eventually("no place left", lambda: stack.browser().get("/").status_code == 429)
        assert stack.browser().get("/static/missing.css").status_code == 429
        assert stack.browser().get("/livez").status_code == 200
        assert handshake(stack) == 101


@pytest.fixture(scope="module")
def root(stack) -> httpx.Client:
    """Somebody who may see what the application sees."""
    return stack.browser("root")


FORWARDED = {"X-Forwarded-For": "192.0.2.1, 203.0.113.7", "X-Forwarded-Proto": "https"}


def test_a_proxy_in_front_tells_the_client_and_the_scheme(stack, root):
    peer = root.get("/whoami/").json()["client"]
    with stack.nginx(FRONT_PROXIES=f"198.51.100.0/24, {peer},2001:db8::/32", HTTPS_ONLY="true"):
        seen = root.get("/whoami/", headers=FORWARDED).json()
        assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "https")
        (static,) = re.findall(r'href="(/static/[^"]+\.css)"', root.get("/").text)
        secure = root.get(static, headers=FORWARDED).headers
        assert secure.get_list("strict-transport-security") == ["max-age=31536000"]
        assert "strict-transport-security" not in root.get(static).headers
        further = {"X-Forwarded-For": f"203.0.113.7, 198.51.100.9, {peer}"}
        seen = root.get("/whoami/", headers=further).json()
        assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "http")


def test_clients_behind_a_proxy_in_front_are_limited_one_by_one(stack, root):
    peer = root.get("/whoami/").json()["client"]

    def log_in(client: str) -> int:
        forwarded = {"X-Forwarded-For": client}
        return stack.browser().post("/accounts/login/", headers=forwarded).status_code

    with stack.nginx(FRONT_PROXIES=peer, CLIENT_LOGIN_RATE="1"):
        statuses = [log_in(client) for client in ("203.0.113.7",) * 3 + ("203.0.113.8",)]
        assert statuses == [403, 403, 429, 403]
        household = ("2001:db8::1", "2001:db8::a:b:c:d", "2001:db8:0:0:1::", "2001:db8:0:1::1")
        assert [log_in(client) for client in household] == [403, 403, 429, 403]
        mapped = ("::ffff:203.0.113.9",) * 3 + ("::ffff:203.0.113.10",)
        assert [log_in(client) for client in mapped] == [403, 403, 429, 403]


def test_a_peer_that_is_no_proxy_in_front_tells_nothing(stack, root):
    peer = root.get("/whoami/").json()["client"]
    with stack.nginx(FRONT_PROXIES="198.51.100.0/24"):
        seen = root.get("/whoami/", headers=FORWARDED).json()
        assert (seen["client"], seen["scheme"]) == (peer, "http")


@contextmanager
def paused(containers: list[Container]) -> Iterator[None]:
    """Let containers accept connections and answer nothing."""
    try:
        for container in containers:
            container.pause()
        yield
    finally:
        for container in containers:
            container.reload()
            if container.status == "paused":
                container.unpause()


def test_probes_of_one_client_at_a_time_are_limited(stack, root):
    paths, peer = stack.probes, root.get("/whoami/").json()["client"]

    def probe(number: int) -> int:
        other = {"X-Forwarded-For": "203.0.113.8"} if number == 0 else {}
        return stack.browser().get(paths[number % len(paths)], headers=other).status_code

    with stack.nginx(FRONT_PROXIES=peer), ThreadPoolExecutor(31) as pool:
        with paused(stack.replicas()):
            asked = [pool.submit(probe, number) for number in range(31)]
            eventually("ten are refused", lambda: sum(one.done() for one in asked) == 10, 30)
            assert {one.result() for one in asked if one.done()} == {429}
            assert not asked[0].done()
        assert Counter(one.result() for one in asked) == {200: 21, 429: 10}


def test_no_log_has_what_a_url_says_after_the_question_mark_even_of_what_failed(stack):
    before = time.time()
    with paused(stack.replicas()):
        lost = stack.browser().get("/?hidden=page", headers={"Referer": "http://a/?hidden=referer"})
        with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/?hidden=socket"):
            pass
    assert (lost.status_code, refused.value.response.status_code) == (504, 504)
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
    failed = [
        (line["path"], line["upstream_status"].split(", ")[-1])
        for line in stack.json_logs("nginx", since=before)
    ]
    assert {("/", "504"), ("/ws/echo/", "504")} <= set(failed)
    assert "hidden" not in "".join(stack.logs("nginx", since=before))
    eventually("an answer", lambda: stack.browser().get("/readyz").status_code == 200)
    with stack.nginx(ROOT_PATH="/chat"):
        assert stack.browser().get("/outside?hidden=path").status_code == 404
        assert "hidden" not in "".join(stack.logs("nginx"))


def cut(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection, or said that it will."""
    connection.setblocking(False)
    try:
        return len(connection.recv(1024)) >= 0
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.only(asgi_server="uvicorn", topology="single")
def test_ten_thousand_half_open_connections_keep_nobody_out_and_are_cut(stack):
    """Each with as many headers as it may have, while uploads take all of the room for them."""
    (nginx,) = stack.containers("nginx")
    workers = children(nginx)
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
        # On a slow machine the first ones are 10 s old by now.
        assert sum(not cut(connection) for connection in half) > 5_000
        assert not any(cut(connection) for connection in uploads)
        for _ in range(5):
            stack.browser().get("/").raise_for_status()
            assert handshake(stack) == 101
        assert time.monotonic() - started < 10
        eventually("all are cut", lambda: all(cut(connection) for connection in half))
    nginx.reload()
    assert nginx.health == "healthy"
    assert children(nginx) == workers
    assert "exited on signal" not in "".join(stack.logs("nginx"))


@pytest.mark.only(asgi_server="uvicorn", topology="single")
def test_who_promises_a_body_and_sends_none_is_cut(stack):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
        started = time.monotonic()
        eventually("the connection is cut", lambda: cut(client), 25)
        assert time.monotonic() - started > 15
