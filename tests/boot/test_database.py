"""The database: written to by all replicas, lost and restored, and not used up."""

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
from tests.grid.test_life import answers, restart
from tests.stack import Room, Stack, cookie_header, eventually, execute, run


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack) -> Iterator[None]:
    """Leave the stack as it was found."""
    yield
    restart(stack)
    stack.compose("up", "--detach", "--wait", "--no-recreate")


def texts(stack: Stack, room: str) -> list[str]:
    """Return what was said in a room, as the database has it."""
    messages = f"Message.objects.filter(room={room!r})"
    code = f"from rooms.models import Message; [print(said) for said in {messages}]"
    return stack.manage("shell", "-v0", "-c", code).splitlines()


def test_replicas_write_at_the_same_time_and_none_is_refused(stack):
    browser = stack.browser("ada")
    with ExitStack() as rooms:
        people = [rooms.enter_context(stack.room("busy", browser)) for _ in range(10)]
        assert len({person.replica for person in people}) == 2

        def talk(person: Room) -> None:
            for number in range(20):
                person.say(f"{people.index(person)}.{number}")

        with ThreadPoolExecutor(len(people)) as pool:
            list(pool.map(talk, people))
        heard = [[person.hear()[1] for _ in range(200)] for person in people]
    assert all(one == heard[0] for one in heard)
    assert len(set(heard[0])) == 200
    assert len(texts(stack, "busy")) == 200


def section(stack: Stack) -> str:
    """Return what the project's README says of backups."""
    readme = (stack.project / "README.md").read_text()
    return re.search(r"^## Back up\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)[1]


def shell(stack: Stack, command: str, typed: str | None = None) -> str:
    """Run a command as somebody types it in the project's folder, and return what it prints."""
    options = {"input": typed, "capture_output": True, "text": True}
    done = subprocess.run(command, shell=True, cwd=stack.project, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_can_look_inside(stack):
    database, python = re.findall(r"`docker compose exec (.+?)`", section(stack))
    count = shell(stack, f"docker compose exec -T {database}", "SELECT 40 + 2;\n")
    assert "42" in count
    count = shell(stack, f"docker compose exec -T {python}", "print(User.objects.count())\n")
    assert int(count.split()[-1]) >= 3


def test_what_was_backed_up_is_restored_when_the_volume_is_lost(stack):
    with stack.room("kept", stack.browser("ada")) as room:
        room.say("before")
        room.hear()
        back_up, restore = re.findall(r"^    (.+)$", section(stack), re.MULTILINE)
        shell(stack, back_up)
        room.say("after")
        room.hear()
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
    """Return how many connections Postgres has from other containers.

    Args:
        stack: where.
        service: whose connections count; all do if none is named.
    """
    (postgres,) = stack.containers("postgres")
    # Neither that of this question, by the socket, nor that of a health check.
    query = "SELECT count(*) FROM pg_stat_activity WHERE client_addr <> '127.0.0.1'"
    if service:
        networks = [app.attrs["NetworkSettings"]["Networks"] for app in stack.containers(service)]
        addresses = [network[f"{stack.project.name}_back"]["IPAddress"] for network in networks]
        query += f" AND host(client_addr) IN ({', '.join(map(repr, addresses))})"
    status, output = execute(postgres, ["psql", "--username=app", "-Atc", query])
    assert status == 0, output
    return int(output)


def ask_for_pages(stack: Stack, browser: httpx.Client, count: int) -> None:
    """Ask for a page that needs the database, on one connection. Raises AssertionError if not."""
    connection = HTTPConnection("localhost", stack.port, timeout=30)
    headers = {"Cookie": cookie_header(browser)}
    with closing(connection):
        for _ in range(count):
            connection.request("GET", "/rooms/pages/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200


async def come_and_go(stack: Stack, browser: httpx.Client, count: int) -> None:
    """Enter a room with so many sockets, 50 at a time, and leave it."""
    headers = {"Cookie": cookie_header(browser)}
    path, options = "/ws/rooms/crowded/", {"additional_headers": headers, "open_timeout": 30}

    async def visit() -> None:
        async with few, stack.async_socket(path, **options) as socket:
            while json.loads(await socket.recv())["type"] != "subscribed":
                pass

    few = asyncio.Semaphore(50)
    async with asyncio.TaskGroup() as visits:
        for _ in range(count):
            visits.create_task(visit())


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_after_10_000_requests_and_1_000_sockets_no_connection_is_left_behind(stack, aloud):
    browser = stack.browser("ada")
    processes = sum(len(stack.containers(service)) for service in ("app", "web"))
    for _ in range(20):
        browser.get("/rooms/pages/").raise_for_status()
    run(come_and_go(stack, browser, 20))  # so that each process has its pool
    eventually("a quiet database", lambda: connections(stack) <= processes, seconds=120)
    before = connections(stack)
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_for_pages, stack, browser, 1250) for _ in range(8)]
        busiest = 0
        while not all(asked.done() for asked in asking):
            busiest = max(busiest, connections(stack))
            time.sleep(0.5)
        for asked in asking:
            asked.result()
    run(come_and_go(stack, browser, 1000))
    with aloud():
        print(f"\n    connections before {before}, at most {busiest}", flush=True)
    assert busiest > before
    # A pool closes one that nobody needs every 10 s.
    eventually("as many as before", lambda: connections(stack) <= before, seconds=150)


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_all_processes_together_have_no_more_connections_than_they_may(stack):
    restart(stack, WEB_CONCURRENCY="2", DATABASE_CONNECTIONS="8")
    browser = stack.browser("ada")
    with ThreadPoolExecutor(30) as pool:
        asking = [pool.submit(ask_for_pages, stack, browser, 20) for _ in range(30)]
        everybody, pages = [connections(stack)], [connections(stack, stack.pages)]
        while not all(asked.done() for asked in asking):
            everybody.append(connections(stack))
            pages.append(connections(stack, stack.pages))
        for asked in asking:
            asked.result()
    assert max(everybody) <= 8
    # Two containers with two processes each, for pages; with as many for sockets, half of them.
    assert max(pages) == 8 // len(stack.services)


@pytest.mark.whole
@pytest.mark.only(database="postgres")
def test_postgres_may_be_killed_and_come_back(stack):
    browser = stack.browser("ada")
    stack.compose("kill", "postgres")
    ready = stack.browser().get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, False)
    assert stack.browser().get("/livez").status_code == 200
    stack.compose("start", "postgres")
    eventually("ready again", lambda: stack.browser().get("/readyz").status_code == 200)
    assert [browser.get("/rooms/pages/").status_code for _ in range(20)] == [200] * 20


@pytest.mark.only(database="postgres")
def test_a_database_that_was_made_by_half_is_not_healthy(stack, combination, tmp_path):
    half = Stack(bake(tmp_path, project_slug=slug("half", combination), **combination))
    script = half.project / "postgres.sql"
    made, last, database = script.read_text().rpartition("CREATE DATABASE")
    script.write_text(f"{made}SELECT 1 / 0;\n{last}{database}")
    try:
        half.compose("up", "--detach", "postgres")
        (postgres,) = half.containers("postgres")

        def succeeds(*command: str) -> bool:
            return execute(postgres, command).exit_code == 0

        # The image takes it for made, and does not run the script again.
        eventually("the next start", lambda: succeeds("pg_isready", "--host=127.0.0.1"))
        assert "division by zero" in postgres.logs().decode()
        _, *probe = postgres.attrs["Config"]["Healthcheck"]["Test"]
        assert not succeeds(*probe)
    finally:
        half.down()
