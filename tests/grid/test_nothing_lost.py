"""500 sockets follow a stream while something breaks: each gets every message, once, in order."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import docker
import pytest
from docker.models.containers import Container

from tests.grid.crowd import Crowd, Window
from tests.grid.test_life import restart, titles
from tests.stack import Stack, eventually, execute

pytestmark = pytest.mark.whole

# Short, so that a test can publish more than that.
HISTORY_LENGTH = 300
SETTINGS = {"HISTORY_LENGTH": str(HISTORY_LENGTH), "WS_SEND_TIMEOUT": "1"}
# Of realtime/presence.py: until a process is taken for dead, and somebody who left for gone; and
# between two looks at that.
EXPIRY, GRACE, HEARTBEAT = 10, 4, 3
# Of each message of a flood, which lasts until the server sees that nobody reads: until then, the
# buffers between it, nginx, Docker's proxy and a client take 30 to 100 MB.
FLOOD_BYTES = 500_000
# Who does not read does not answer pings either, and is not to be closed for that.
PATIENT = {"WS_PING_INTERVAL": "20", "WS_PING_TIMEOUT": "20", "PROXY_READ_TIMEOUT": "75"}

Watch = Callable[[Crowd], AbstractContextManager[Window]]


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack) -> Iterator[None]:
    """Configure the stack for this, and leave it as it was found."""
    restart(stack, **SETTINGS)
    yield
    restart(stack)
    stack.redis_cli("flushall")


@pytest.fixture(scope="module")
def crowd(stack, _as_it_was) -> Iterator[Crowd]:
    """500 sockets that follow one stream through all faults."""
    with Crowd(stack, "all", 500) as crowd:
        yield crowd


@pytest.fixture
def watched(aloud, record_property) -> Watch:
    """Publish meanwhile, and say, here and in docs/reliability.md, what came of it."""

    @contextmanager
    def watch(crowd: Crowd) -> Iterator[Window]:
        with crowd.watched() as window:
            yield window
        record_property("figures", window.figures.row())
        with aloud():
            print(f"\n    {window.figures}", flush=True)
        assert window.figures.published
        assert window.figures.complete, window.figures

    return watch


def redis(stack: Stack) -> Container:
    """Return the container of Redis."""
    (redis,) = stack.containers("redis")
    return redis


def nginx(stack: Stack) -> Container:
    """Return the container of nginx."""
    (nginx,) = stack.containers("nginx")
    return nginx


def healthy(container: Container) -> None:
    """Wait until Docker takes a container for healthy."""

    def is_healthy() -> bool:
        container.reload()
        return container.health == "healthy"

    eventually(f"{container.name} is healthy", is_healthy)


class Visitor:
    """Somebody who is told who is here.

    Args:
        everybody: closes the socket in the end.
        stack: where.
        username: who; None for a stranger, who is not shown.
        stream: what they follow.
    """

    def __init__(
        self, everybody: ExitStack, stack: Stack, username: str | None, stream: str
    ) -> None:
        path = f"/ws/extra/crowd/{stream}/"
        self.socket = everybody.enter_context(stack.socket(path, stack.browser(username)))
        self.replica = json.loads(self.socket.recv(timeout=20))["replica"]

    def sees(self, *names: str) -> None:
        """Wait until it is told that these are here, and nobody else."""
        deadline = time.monotonic() + 40
        while json.loads(self.socket.recv(deadline - time.monotonic())).get("here") != list(names):
            pass


def test_when_all_replicas_are_restarted_one_by_one_nothing_is_lost_and_nobody_gets_an_error(
    stack, crowd, watched
):
    since = time.time()
    with watched(crowd) as window:
        for app in stack.replicas():
            app.restart(timeout=75)
            healthy(app)
    figures = window.figures
    assert not figures.refused
    logged = stack.json_logs("nginx", since=since)
    assert not figures.failed, [line for line in logged if line["status"] >= 500]
    assert figures.not_recovered == 0
    assert len(figures.absences) >= len(crowd.followers)
    assert figures.percentile(95) < 10
    lines = [line for line in stack.logs("app", since=since) if "crowd.all left" in line]
    assert len(lines) >= len(figures.absences)


def test_when_a_replica_is_killed_nothing_is_lost_and_who_was_there_is_soon_not_listed(
    stack, crowd, watched
):
    crowd.spread()
    with ExitStack() as everybody:
        bob = Visitor(everybody, stack, "bob", "killed")
        ada = Visitor(everybody, stack, "ada", "killed")
        for _ in range(20):
            if ada.replica == bob.replica:
                ada.socket.close()
                # nginx leads everybody to where fewer are: a stranger stays there for each try.
                Visitor(everybody, stack, None, "killed")
                ada = Visitor(everybody, stack, "ada", "killed")
        assert ada.replica != bob.replica
        bob.sees("ada", "bob")
        app = stack.replica(ada.replica)
        with watched(crowd) as window:
            killed = time.monotonic()
            app.kill()
            bob.sees("bob")
            assert time.monotonic() - killed < EXPIRY + HEARTBEAT + 8
            app.start()
            healthy(app)
    assert window.figures.not_recovered == 0
    assert len(window.figures.absences) > len(crowd.followers) / 4


def test_when_redis_is_restarted_nothing_is_lost(stack, crowd, watched):
    with watched(crowd) as window:
        time.sleep(1)
        redis(stack).restart(timeout=10)
        healthy(redis(stack))
        time.sleep(2)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_when_redis_is_killed_nothing_is_lost(stack, crowd, watched):
    with watched(crowd) as window:
        time.sleep(1)
        redis(stack).kill()
        redis(stack).start()
        healthy(redis(stack))
        time.sleep(2)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_when_redis_comes_back_without_its_data_every_socket_is_told_and_none_stays_silent(
    stack, crowd, watched
):
    with watched(crowd) as window:
        time.sleep(1)
        assert execute(redis(stack), ["sh", "-c", "rm -r /data/*"])[0] == 0
        redis(stack).kill()
        redis(stack).start()
        healthy(redis(stack))
        time.sleep(2)
    # Each once, and not again and again.
    assert window.figures.not_recovered == len(crowd.followers)
    assert not window.figures.failed


def test_when_redis_does_not_answer_for_10_s_nothing_is_lost(stack, crowd, watched):
    with watched(crowd) as window:
        time.sleep(1)
        redis(stack).pause()
        time.sleep(10)
        redis(stack).unpause()
        time.sleep(2)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_when_the_network_between_application_and_redis_is_cut_nothing_is_lost(
    stack, crowd, watched
):
    network = docker.from_env().networks.get(f"{stack.project.name}_back")
    with watched(crowd) as window:
        time.sleep(1)
        network.disconnect(redis(stack))
        time.sleep(8)
        network.connect(redis(stack), aliases=["redis"])
        time.sleep(2)
    assert window.figures.not_recovered == 0
    assert not window.figures.failed


def test_when_nginx_is_reloaded_nothing_is_lost_and_nobody_gets_an_error(stack, crowd, watched):
    """Its old processes leave when `worker_shutdown_timeout` ends, and close their sockets."""
    with watched(crowd) as window:
        reload = ["nginx", "-c", "/tmp/nginx.conf", "-s", "reload"]
        assert execute(nginx(stack), reload)[0] == 0
        eventually("old processes leave", lambda: "shutting down" in titles(nginx(stack)))
        eventually("old processes gone", lambda: "shutting down" not in titles(nginx(stack)))
    assert window.figures.not_recovered == 0
    assert window.figures.server_errors == 0
    assert len(window.figures.absences) == len(crowd.followers)


def test_when_nginx_is_restarted_nothing_is_lost(stack, crowd, watched):
    with watched(crowd) as window:
        time.sleep(1)
        nginx(stack).restart(timeout=15)
        healthy(nginx(stack))
    assert window.figures.not_recovered == 0
    assert len(window.figures.absences) >= len(crowd.followers)


def megabytes(stack: Stack) -> list[float]:
    """Return the memory of all processes of each replica."""
    command = ["sh", "-c", "cat /proc/[0-9]*/status"]
    statuses = [execute(app, command)[1].decode() for app in stack.containers("app")]
    return [
        sum(int(kb) / 1024 for kb in re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE))
        for status in statuses
    ]


def test_a_client_that_vanishes_is_gone_within_interval_and_timeout_and_soon_not_listed(stack):
    with ExitStack() as everybody:
        bob = Visitor(everybody, stack, "bob", "vanished")
        ada = stack.browser("ada")
        # It never reads, so that pings are not answered.
        everybody.enter_context(stack.bare_socket("/ws/extra/crowd/vanished/", ada))
        vanished = time.monotonic()
        bob.sees("ada", "bob")
        eventually(
            "disconnect() ran",
            lambda: any("crowd.vanished left" in line for line in stack.logs("app", tail=100)),
        )
        # 2 s and 4 s, and what a server that looks every second or two takes to see it.
        assert 5 < time.monotonic() - vanished < 20
        bob.sees("bob")
        assert time.monotonic() - vanished < 20 + GRACE + HEARTBEAT + 8


def test_who_was_away_for_longer_than_the_history_is_told_so(stack, watched):
    with Crowd(stack, "away", 20, every=0) as away:
        with watched(away) as window:
            away.go_away()
            # Redis keeps up to 100 more than it is told to.
            published = len(away.acknowledged) + HISTORY_LENGTH + 150
            eventually("more messages", lambda: len(away.acknowledged) > published, seconds=120)
            away.come_back()
            time.sleep(2)
        assert window.figures.not_recovered == len(away.followers)
        with away.watched() as after:
            eventually("one more", lambda: len(away.acknowledged) > after.first)
        assert after.figures.complete
        assert after.figures.delivered == after.figures.published * len(away.followers)


def test_a_client_that_does_not_read_takes_no_memory_is_closed_with_4408_and_misses_nothing(
    stack, watched
):
    """The messages are kept once for all of them, and not for each."""
    restart(stack, **SETTINGS, **PATIENT)
    with Crowd(stack, "flood", 10, every=0.05, padding=FLOOD_BYTES) as slow:
        before = megabytes(stack)
        with watched(slow) as window:
            slow.stop_reading()
            eventually(
                "a flood, and disconnect() of all",
                lambda: sum("crowd.flood left" in line for line in stack.logs("app")) >= 10,
            )
            stuck = megabytes(stack)
            flood = len(slow.acknowledged) * FLOOD_BYTES / 1024**2
            slow.read_again()
        assert window.figures.not_recovered == 0
        assert [follower.codes for follower in slow.followers] == [[4408]] * 10
    for early, late in zip(before, stuck, strict=True):
        assert late - early < 3 * flood  # with a copy for each socket, it would be five times
