"""The database: concurrent writes, backups, connection limits and failures."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import httpx
import pytest

from tests.baking import bake
from tests.conftest import slug
from tests.grid.test_processes import answers, restart
from tests.stack import Room, Stack, cookie_header, eventually, execute, run


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack) -> Iterator[None]:
    """Restore the stack's settings and containers afterwards."""
    yield
    restart(stack)
    stack.compose("up", "--detach", "--wait", "--no-recreate")


def texts(stack: Stack, room: str) -> list[str]:
    """Return the messages of a room that the database has."""
    messages = f"Message.objects.filter(room={room!r})"
    code = f"from rooms.models import Message; [print(message) for message in {messages}]"
    return stack.manage("shell", "-v0", "-c", code).splitlines()


def test_concurrent_writes(stack):
    """Replicas write to the database concurrently, and no write fails."""
    browser = stack.browser("ada")
    with ExitStack() as rooms:
        members = [rooms.enter_context(stack.room("busy", browser)) for _ in range(10)]
        assert len({member.replica for member in members}) == 2

        def send_messages(member: Room) -> None:
            for number in range(20):
                member.say(f"{members.index(member)}.{number}")

        with ThreadPoolExecutor(len(members)) as pool:
            list(pool.map(send_messages, members))
        received = [[member.receive()[1] for _ in range(200)] for member in members]
    assert all(messages == received[0] for messages in received)
    assert len(set(received[0])) == 200
    assert len(texts(stack, "busy")) == 200


def backup_chapter(stack: Stack) -> str:
    """Return the chapter on backups of the project's README."""
    readme = (stack.project / "README.md").read_text()
    return re.search(r"^## Back up\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)[1]


def shell(stack: Stack, command: str, stdin: str | None = None) -> str:
    """Run a shell command in the project's folder and return its output."""
    options = {"input": stdin, "capture_output": True, "text": True}
    done = subprocess.run(command, shell=True, cwd=stack.project, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_database_shells(stack):
    """The README's database shell and Python shell work."""
    database, python = re.findall(r"`docker compose exec (.+?)`", backup_chapter(stack))
    count = shell(stack, f"docker compose exec -T {database}", "SELECT 40 + 2;\n")
    assert "42" in count
    count = shell(stack, f"docker compose exec -T {python}", "print(User.objects.count())\n")
    assert int(count.split()[-1]) >= 3


def test_backup_and_restore(stack):
    """The README's commands restore a backup after the volume is lost."""
    with stack.room("kept", stack.browser("ada")) as room:
        room.say("before")
        room.receive()
        back_up, restore = re.findall(r"^    (.+)$", backup_chapter(stack), re.MULTILINE)
        shell(stack, back_up)
        room.say("after")
        room.receive()
    stack.compose("down", "--volumes")
    stack.compose("up", "--detach", "--wait")
    answers(stack)
    assert texts(stack, "kept") == []
    shell(stack, restore)
    assert texts(stack, "kept") == ["ada in kept: before"]
    page = stack.browser("ada").get("/rooms/kept/").raise_for_status().text
    assert "before" in page
    assert "after" not in page


def connections(stack: Stack, service: str | None = None) -> int:
    """Return the number of connections from other containers to Postgres.

    Args:
        stack: the stack.
        service: count this service's connections only; by default, those of all services.
    """
    (postgres,) = stack.containers("postgres")
    # Without this query's own connection, by the Unix socket, and the health check's.
    query = "SELECT count(*) FROM pg_stat_activity WHERE client_addr <> '127.0.0.1'"
    if service:
        networks = [app.attrs["NetworkSettings"]["Networks"] for app in stack.containers(service)]
        addresses = [network[f"{stack.project.name}_back"]["IPAddress"] for network in networks]
        query += f" AND host(client_addr) IN ({', '.join(map(repr, addresses))})"
    status, output = execute(postgres, ["psql", "--username=app", "-Atc", query])
    assert status == 0, output
    return int(output)


def request_pages(stack: Stack, browser: httpx.Client, count: int) -> None:
    """Request a page that needs the database `count` times, on one connection."""
    connection = HTTPConnection("localhost", stack.port, timeout=30)
    headers = {"Cookie": cookie_header(browser)}
    with closing(connection):
        for _ in range(count):
            connection.request("GET", "/rooms/pages/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200


async def join_and_leave(stack: Stack, browser: httpx.Client, count: int) -> None:
    """Join a room with `count` sockets, 50 at a time, and leave it."""
    headers = {"Cookie": cookie_header(browser)}
    path, options = "/ws/rooms/crowded/", {"additional_headers": headers, "open_timeout": 30}

    async def visit() -> None:
        async with limit, stack.async_socket(path, **options) as socket:
            while json.loads(await socket.recv())["type"] != "subscribed":
                pass

    limit = asyncio.Semaphore(50)
    async with asyncio.TaskGroup() as visits:
        for _ in range(count):
            visits.create_task(visit())


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_no_leaked_connections(stack, uncaptured):
    """10,000 requests and 1,000 sockets leave no database connection behind."""
    browser = stack.browser("ada")
    processes = sum(len(stack.containers(service)) for service in ("app", "web"))
    for _ in range(20):
        browser.get("/rooms/pages/").raise_for_status()
    run(join_and_leave(stack, browser, 20))  # each process opens its pool
    eventually("an idle database", lambda: connections(stack) <= processes, seconds=120)
    before = connections(stack)
    with ThreadPoolExecutor(8) as pool:
        loads = [pool.submit(request_pages, stack, browser, 1250) for _ in range(8)]
        busiest = 0
        while not all(requests.done() for requests in loads):
            busiest = max(busiest, connections(stack))
            time.sleep(0.5)  # between two samples
        for requests in loads:
            requests.result()
    run(join_and_leave(stack, browser, 1000))
    with uncaptured():
        print(f"\n    connections before {before}, at most {busiest}", flush=True)
    assert busiest > before
    # A pool closes one idle connection every 10 s.
    eventually("as many as before", lambda: connections(stack) <= before, seconds=150)


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_connection_limit(stack):
    """All processes together open at most DATABASE_CONNECTIONS connections."""
    restart(stack, WEB_CONCURRENCY="2", DATABASE_CONNECTIONS="8")
    browser = stack.browser("ada")
    with ThreadPoolExecutor(30) as pool:
        loads = [pool.submit(request_pages, stack, browser, 20) for _ in range(30)]
        of_all, of_pages = [connections(stack)], [connections(stack, stack.pages)]
        while not all(requests.done() for requests in loads):
            of_all.append(connections(stack))
            of_pages.append(connections(stack, stack.pages))
        for requests in loads:
            requests.result()
    assert max(of_all) <= 8
    # Two containers with two processes each serve pages. In the split topology, as many serve
    # sockets, and pages get half of the connections.
    assert max(of_pages) == 8 // len(stack.services)


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_postgres_restart(stack):
    """Without Postgres, /readyz answers 503; once it is back, so are the pages."""
    browser = stack.browser("ada")
    stack.compose("kill", "postgres")
    ready = stack.browser().get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, False)
    assert stack.browser().get("/livez").status_code == 200
    stack.compose("start", "postgres")
    eventually("ready again", lambda: stack.browser().get("/readyz").status_code == 200)
    assert [browser.get("/rooms/pages/").status_code for _ in range(20)] == [200] * 20


@pytest.mark.only(database="postgres")
def test_failed_initialization(stack, combination, tmp_path):
    """A database whose initialization failed halfway is unhealthy."""
    partial = Stack(bake(tmp_path, project_slug=slug("partial", combination), **combination))
    script = partial.project / "postgres.sql"
    before, statement, database = script.read_text().rpartition("CREATE DATABASE")
    script.write_text(f"{before}SELECT 1 / 0;\n{statement}{database}")
    try:
        partial.compose("up", "--detach", "postgres")
        (postgres,) = partial.containers("postgres")

        def succeeds(*command: str) -> bool:
            return execute(postgres, command).exit_code == 0

        # The image considers the database initialized, and does not run the script again.
        eventually("the next start", lambda: succeeds("pg_isready", "--host=127.0.0.1"))
        assert "division by zero" in postgres.logs().decode()
        _, *health_check = postgres.attrs["Config"]["Healthcheck"]["Test"]
        assert not succeeds(*health_check)
    finally:
        partial.down()
