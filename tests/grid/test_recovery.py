"""Recovery: 500 clients of one stream receive every message once, in order, through faults."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import docker
import pytest
from docker.models.containers import Container

from tests.grid.load import Load, Window
from tests.grid.test_processes import restart, titles
from tests.stack import Stack, eventually, execute

pytestmark = pytest.mark.whole

# Small, so that a test can exceed it.
HISTORY_LENGTH = 300
SETTINGS = {"HISTORY_LENGTH": str(HISTORY_LENGTH), "WS_SEND_TIMEOUT": "1"}
# The timing of realtime/presence.py, in seconds.
EXPIRY, GRACE, HEARTBEAT = 10, 4, 3
# The size of a message in test_slow_reader. The buffers of the server, nginx, Docker's proxy and a
# client take 30 to 100 MB before the server has to wait.
FLOOD_BYTES = 500_000
# A client that does not read answers no pings either, and must not be closed for that.
PATIENT = {"WS_PING_INTERVAL": "20", "WS_PING_TIMEOUT": "20", "PROXY_READ_TIMEOUT": "75"}

Measure = Callable[[Load], AbstractContextManager[Window]]


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack) -> Iterator[None]:
    """Configure the stack, and restore its settings in the end."""
    restart(stack, **SETTINGS)
    yield
    restart(stack)
    stack.redis_cli("flushall")


@pytest.fixture(scope="module")
def load(stack, _as_it_was) -> Iterator[Load]:
    """500 clients of one stream, for all faults."""
    with Load(stack, "all", 500) as load:
        yield load


@pytest.fixture
def measured(uncaptured, record_property) -> Measure:
    """Publish during a window; report its figures, here and in docs/reliability.md."""

    @contextmanager
    def measure(load: Load) -> Iterator[Window]:
        with load.window() as window:
            yield window
        record_property("figures", window.figures.row())
        with uncaptured():
            print(f"\n    {window.figures}", flush=True)
        assert window.figures.published
        assert window.figures.complete, window.figures

    return measure


def redis(stack: Stack) -> Container:
    """Return the container of Redis."""
    (redis,) = stack.containers("redis")
    return redis


def nginx(stack: Stack) -> Container:
    """Return the container of nginx."""
    (nginx,) = stack.containers("nginx")
    return nginx


def healthy(container: Container) -> None:
    """Wait until Docker reports a container as healthy."""

    def is_healthy() -> bool:
        container.reload()
        return container.health == "healthy"

    eventually(f"{container.name} is healthy", is_healthy)


class Visitor:
    """A client that receives the presence list of a stream.

    Args:
        sockets: closes the socket in the end.
        stack: the server.
        username: the user; None for an anonymous one, who is not listed.
        stream: the stream.
    """

    def __init__(self, sockets: ExitStack, stack: Stack, username: str | None, stream: str) -> None:
        path = f"/ws/extra/load/{stream}/"
        self.socket = sockets.enter_context(stack.socket(path, stack.browser(username)))
        self.replica = json.loads(self.socket.recv(timeout=20))["replica"]

    def sees(self, *names: str) -> None:
        """Wait until these users are the members, and no others."""
        deadline = time.monotonic() + 40
        members = None
        while members != list(names):
            members = json.loads(self.socket.recv(deadline - time.monotonic())).get("members")


def test_rolling_restart(stack, load, measured):
    """When all replicas are restarted one by one, no message is lost and no request fails."""
    since = time.time()
    with measured(load) as window:
        for app in stack.replicas():
            app.restart(timeout=75)
            healthy(app)
    figures = window.figures
    assert not figures.refused
    logged = stack.json_logs("nginx", since=since)
    assert not figures.failed, [line for line in logged if line["status"] >= 500]
    assert figures.not_recovered == 0
    assert len(figures.absences) >= len(load.clients)
    assert figures.percentile(95) < 10
    lines = [line for line in stack.logs("app", since=since) if "load.all disconnected" in line]
    assert len(lines) >= len(figures.absences)


def test_replica_killed(stack, load, measured):
    """When a replica is killed, no message is lost and its users leave the presence list."""
    load.rebalance()
    with ExitStack() as sockets:
        bob = Visitor(sockets, stack, "bob", "killed")
        ada = Visitor(sockets, stack, "ada", "killed")
        for _ in range(20):
            if ada.replica == bob.replica:
                ada.socket.close()
                # nginx chooses the replica with fewer connections: each try leaves a socket there.
                Visitor(sockets, stack, None, "killed")
                ada = Visitor(sockets, stack, "ada", "killed")
        assert ada.replica != bob.replica
        bob.sees("ada", "bob")
        app = stack.replica(ada.replica)
        with measured(load) as window:
            killed = time.monotonic()
            app.kill()
            bob.sees("bob")
            assert time.monotonic() - killed < EXPIRY + HEARTBEAT + 8
            app.start()
            healthy(app)
    assert window.figures.not_recovered == 0
    assert len(window.figures.absences) > len(load.clients) / 4


def test_redis_restarted(stack, load, measured):
    """When Redis is restarted, no message is lost."""
    with measured(load) as window:
        load.wait_for_messages(5)
        redis(stack).restart(timeout=10)
        healthy(redis(stack))
        load.wait_for_messages(10)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_redis_killed(stack, load, measured):
    """When Redis is killed, no message is lost."""
    with measured(load) as window:
        load.wait_for_messages(5)
        redis(stack).kill()
        redis(stack).start()
        healthy(redis(stack))
        load.wait_for_messages(10)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_redis_data_lost(stack, load, measured):
    """If Redis loses its data, sockets receive `recovered: false` once and stay subscribed."""
    with measured(load) as window:
        load.wait_for_messages(5)
        assert execute(redis(stack), ["sh", "-c", "rm -r /data/*"])[0] == 0
        redis(stack).kill()
        redis(stack).start()
        healthy(redis(stack))
        load.wait_for_messages(10)
    # Once for each client.
    assert window.figures.not_recovered == len(load.clients)
    assert not window.figures.failed


def test_redis_paused(stack, load, measured):
    """When Redis does not respond for 10 s, no message is lost."""
    with measured(load) as window:
        load.wait_for_messages(5)
        redis(stack).pause()
        time.sleep(10)
        redis(stack).unpause()
        load.wait_for_messages(10)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_redis_disconnected(stack, load, measured):
    """When the network between application and Redis is cut, no message is lost."""
    network = docker.from_env().networks.get(f"{stack.project.name}_back")
    with measured(load) as window:
        load.wait_for_messages(5)
        network.disconnect(redis(stack))
        time.sleep(8)
        network.connect(redis(stack), aliases=["redis"])
        load.wait_for_messages(10)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_nginx_reloaded(stack, load, measured):
    """When nginx is reloaded, no message is lost and no request is answered 5xx.

    Old nginx workers close their sockets and exit after `worker_shutdown_timeout`.
    """
    with measured(load) as window:
        reload = ["nginx", "-c", "/tmp/nginx.conf", "-s", "reload"]
        assert execute(nginx(stack), reload)[0] == 0
        eventually("old workers shut down", lambda: "shutting down" in titles(nginx(stack)))
        eventually("old workers have exited", lambda: "shutting down" not in titles(nginx(stack)))
    assert window.figures.not_recovered == 0
    assert window.figures.server_errors == 0
    assert len(window.figures.absences) == len(load.clients)


def test_nginx_restarted(stack, load, measured):
    """When nginx is restarted, no message is lost."""
    with measured(load) as window:
        load.wait_for_messages(5)
        nginx(stack).restart(timeout=15)
        healthy(nginx(stack))
    assert window.figures.not_recovered == 0
    assert len(window.figures.absences) >= len(load.clients)


def megabytes(stack: Stack) -> list[float]:
    """Return the memory in MiB of all processes of each replica."""
    command = ["sh", "-c", "cat /proc/[0-9]*/status"]
    statuses = [execute(app, command)[1].decode() for app in stack.containers("app")]
    return [
        sum(int(kb) / 1024 for kb in re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE))
        for status in statuses
    ]


def test_vanished_client(stack):
    """An unreachable client is disconnected by the ping timeout and leaves the presence list."""
    with ExitStack() as sockets:
        bob = Visitor(sockets, stack, "bob", "vanished")
        ada = stack.browser("ada")
        # It never reads, so it answers no pings.
        sockets.enter_context(stack.bare_socket("/ws/extra/load/vanished/", ada))
        vanished = time.monotonic()
        line = "load.vanished disconnected"
        bob.sees("ada", "bob")
        eventually(
            "disconnect() ran",
            lambda: any(line in logged for logged in stack.logs("app", tail=100)),
        )
        # 2 s + 4 s, and up to 2 s for servers that check once in a second or two.
        assert 5 < time.monotonic() - vanished < 20
        bob.sees("bob")
        assert time.monotonic() - vanished < 20 + GRACE + HEARTBEAT + 8


def test_history_exceeded(stack, measured):
    """A client disconnected for longer than the history receives `recovered: false`."""
    with Load(stack, "away", 20, every=0) as away:
        with measured(away) as window:
            away.disconnect()
            # Redis trims streams approximately, and keeps up to 100 more.
            away.wait_for_messages(HISTORY_LENGTH + 151)
            away.reconnect()
            away.wait_until_subscribed()
            away.wait_for_messages(10)
        assert window.figures.not_recovered == len(away.clients)
        with away.window() as after:
            away.wait_for_messages(1)
        assert after.figures.complete
        assert after.figures.delivered == after.figures.published * len(away.clients)


def test_slow_reader(stack, measured):
    """A client that does not read takes no memory, is closed with 4408, and misses no message.

    A process caches messages once, instead of once for each client.
    """
    restart(stack, **SETTINGS, **PATIENT)
    with Load(stack, "flood", 10, every=0.05, padding=FLOOD_BYTES) as slow:
        before = megabytes(stack)
        with measured(slow) as window:
            slow.stop_reading()
            eventually(
                "disconnect() ran for all",
                lambda: sum("load.flood disconnected" in line for line in stack.logs("app")) >= 10,
            )
            stuck = megabytes(stack)
            flood = len(slow.acknowledged) * FLOOD_BYTES / 1024**2
            slow.resume_reading()
        assert window.figures.not_recovered == 0
        assert [client.codes for client in slow.clients] == [[4408]] * 10
    for early, late in zip(before, stuck, strict=True):
        assert late - early < 3 * flood  # a copy for each socket would be 5 × flood
