"""How processes start, stop, break and are replaced, as seen through nginx."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker
import httpx
import pytest
from docker.models.containers import Container
from websockets import ConnectionClosed, InvalidStatus

from tests.stack import Stack, eventually, execute, run

pytestmark = pytest.mark.whole

PROBE = ["python", "-m", "serve.probe"]
# Which processes answer, asked in their container: nginx would keep to a few connections.
WHO = """
from json import load
from urllib.request import urlopen

for _ in range(20):
    answer = load(urlopen("http://localhost:8000/extra/who/", timeout=5))
    print(answer["process"], answer["pid"])
"""
# An option that the contract has no name for.
SERVER_ARGS = {
    "uvicorn": "--backlog=1024",
    "gunicorn": "--backlog=1024",
    "daphne": "--http-timeout=120",
    "hypercorn": "--backlog=1024",
}


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack):
    """Leave the stack as it was found."""
    yield
    restart(stack)


def restart(stack: Stack, **changes: str) -> None:
    """Run the stack with some settings changed, from what it is configured with."""
    if stack.configure(**changes):
        stack.compose("up", "--detach", "--wait")
        answers(stack)


def answers(stack: Stack) -> None:
    """Wait for an answer: replicas that are all new are seen by nginx after a second or two."""
    eventually("an answer", lambda: stack.browser().get("/livez").status_code == 200)


def alone(stack: Stack) -> dict[str, str]:
    """Return the settings for one replica: of the sockets, and of the pages."""
    return {f"{service.upper()}_REPLICAS": "1" for service in stack.services}


@pytest.fixture
def args(combination) -> str:
    """What is passed through to the server."""
    return SERVER_ARGS[combination["asgi_server"]]


@pytest.fixture
def _one_process(stack) -> None:
    """The only replica has one process."""
    restart(stack, **alone(stack))


@pytest.fixture
def _two_processes(stack, args) -> None:
    """The only replica has two processes."""
    restart(stack, **alone(stack), WEB_CONCURRENCY="2", SERVER_ARGS=args)


def titles(container: Container) -> str:
    """Return what its processes say of themselves, whole: Docker may cut it off at 80 columns."""
    return execute(container, ["sh", "-c", "cat /proc/[0-9]*/cmdline"])[1].decode()


def test_one_connection_over_the_limit_is_told_to_come_back_later(stack):
    restart(stack, **alone(stack), MAX_CONNECTIONS="2")
    with stack.socket("/ws/echo/"), stack.socket("/ws/echo/"):
        with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/"):
            pass
        answer = refused.value.response
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        # Sockets take the room of pages only where one server has both.
        assert stack.browser().get("/").status_code == (503 if stack.pages == "app" else 200)
        assert stack.browser().get("/livez").status_code == 200
    with ThreadPoolExecutor() as pool, stack.browser() as browser:
        eventually("room for pages", lambda: browser.get("/").status_code == 200)
        slow = [pool.submit(browser.get, "/extra/slow/3/") for _ in range(2)]
        time.sleep(1)
        page = browser.get("/")
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert browser.get("/livez").status_code == 200
        assert [answer.result().text for answer in slow] == ["done", "done"]


@pytest.mark.usefixtures("_one_process")
def test_a_process_that_is_only_busy_says_that_it_lives(stack):
    with ThreadPoolExecutor(20) as pool, stack.browser() as browser:
        slow = [pool.submit(browser.get, "/extra/slow/1/") for _ in range(20)]
        time.sleep(0.5)
        started = time.monotonic()
        assert browser.get("/livez").status_code == 200
        assert time.monotonic() - started < 1
        assert [answer.result().text for answer in slow] == ["done"] * 20


def test_the_site_can_be_mounted_under_a_path(stack):
    restart(stack, ROOT_PATH="/chat")
    browser = httpx.Client(base_url=f"{stack.url}/chat", timeout=20, follow_redirects=True)
    page = browser.get("/").raise_for_status()
    for link in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
        assert link.startswith("/chat/")
        browser.get(f"{stack.url}{link}").raise_for_status()
    assert browser.get("/readyz").status_code == 200
    assert stack.browser().get("/chat").headers["location"] == "/chat/"
    assert [stack.browser().get(path).status_code for path in ("/", "/whoami/")] == [404, 404]
    with stack.socket("/chat/ws/echo/") as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"


async def sit_until_closed(stack: Stack, count: int, act: Callable[[], None]) -> Counter:
    """Open sockets, do something, and count what they are closed with; 1006 is no close frame."""
    everybody_sits = asyncio.Barrier(count + 1)

    async def sit() -> int:
        async with stack.async_socket("/ws/extra/everybody/", open_timeout=30) as socket:
            await socket.recv()
            await everybody_sits.wait()
            try:
                async with asyncio.timeout(30):
                    while True:
                        await socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    sitting = [asyncio.create_task(sit()) for _ in range(count)]
    async with asyncio.timeout(90):  # one that is not let in would be waited for, for ever
        await everybody_sits.wait()
    await asyncio.to_thread(act)
    return Counter(await asyncio.gather(*sitting))


@pytest.mark.usefixtures("_one_process")
def test_sigterm_ends_requests_and_sockets_properly(stack):
    """A request of 3 s is answered, 200 sockets are told to come back, and all is tidied up."""
    with ThreadPoolExecutor() as pool, stack.browser() as browser:

        def stop() -> None:
            nonlocal slow
            slow = pool.submit(browser.get, "/extra/slow/3/")
            time.sleep(0.5)
            stack.compose("stop", *stack.services)

        slow = None
        codes = run(sit_until_closed(stack, 200, stop))
        assert slow.result().text == "done"
    assert codes == {4000: 200}
    assert sum("left with " in line["message"] for line in stack.json_logs("app")) == 200
    assert [app.wait()["StatusCode"] for app in stack.replicas()] == [0] * len(stack.services)
    assert stack.redis_cli("pubsub", "channels", "*") == []
    for key in stack.redis_cli("keys", "*"):
        assert stack.redis_cli("ttl", key) != ["-1"], f"{key} is kept for ever"
    stack.compose("start", *stack.services)
    answers(stack)


def processes(app: Container) -> dict[str, str]:
    """Return the processes of a container that answer, with their numbers; none if one does not."""
    status, output = execute(app, ["python", "-c", WHO])
    return dict(line.split() for line in output.decode().splitlines()) if status == 0 else {}


@pytest.mark.usefixtures("_two_processes")
def test_two_processes_serve_one_address_and_their_sockets_hear_each_other(stack, args):
    path = "/ws/extra/everybody/"
    with stack.socket(path) as first:
        here = first.recv(timeout=20)
        there = here
        for _ in range(200):
            with stack.socket(path) as second:
                there = second.recv(timeout=20)
                if there != here:
                    first.send("hello")
                    assert first.recv(timeout=20) == second.recv(timeout=20) == "hello"
                    break
        assert there != here
    assert [line for line in stack.json_logs("app") if "level" not in line] == []
    assert args in titles(*stack.containers("app"))


@pytest.mark.usefixtures("_two_processes")
def test_a_process_that_is_killed_is_replaced(stack):
    (app,) = stack.containers(stack.pages)
    seen: dict[str, str] = {}
    eventually("both answer", lambda: seen.update(processes(app)) or len(seen) == 2)
    killed = min(seen.values())
    assert execute(app, ["python", "-c", f"import os; os.kill({killed}, 9)"])[0] == 0
    eventually("a third one answers", lambda: processes(app).keys() - seen.keys())
    eventually("healthy", lambda: stack.containers(stack.pages)[0].health == "healthy")


def run_once(stack: Stack, service: str, *options: str, **environment: str) -> Container:
    """Start a container of a service, beside the others, in the background."""
    options += tuple(f"--env={name}={value}" for name, value in environment.items())
    name = stack.compose("run", "--detach", "--no-deps", *options, service).split()[-1]
    return docker.from_env().containers.get(name)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_error_on_import_ends_the_start_and_its_reason_is_said_last(stack, processes):
    settings = {"DJANGO_SETTINGS_MODULE": "extra.broken", "WEB_CONCURRENCY": processes}
    for service in stack.services:
        app = run_once(stack, service, **settings)
        try:
            assert app.wait(timeout=30)["StatusCode"] != 0
            assert "no module of that name" in app.logs(tail=40).decode()
        finally:
            app.remove(force=True)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_socket_file_that_a_crash_left_behind_does_not_hinder_the_next_start(
    stack, processes, tmp_path
):
    tmp_path.chmod(0o777)
    settings = {"BIND": "unix:/sockets/app.sock", "WEB_CONCURRENCY": processes}
    for service in [*stack.services, *stack.services]:
        app = run_once(stack, service, f"--volume={tmp_path}:/sockets", **settings)
        try:
            eventually("an answer", lambda app=app: execute(app, PROBE)[0] == 0)
        finally:
            app.remove(force=True)  # SIGKILL


def test_processes_are_replaced_after_max_requests_and_no_request_is_lost(stack):
    restart(stack, MAX_REQUESTS="40")

    def ask(number: int) -> int:
        time.sleep(0.01)
        answer = browser.post("/extra/who/", content=str(number))
        assert answer.json()["body"] == str(number)
        return answer.status_code

    with ThreadPoolExecutor(4) as pool, stack.browser() as browser:
        started = time.monotonic()
        statuses = Counter()
        while recycled(stack) < 2 and time.monotonic() - started < 90:
            statuses.update(pool.map(ask, range(20)))
    assert recycled(stack) >= 2
    assert statuses.keys() == {200}


def recycled(stack: Stack) -> int:
    """Return how many processes have ended because of MAX_REQUESTS, as the logs have it."""
    return sum("after MAX_REQUESTS" in line for line in stack.logs(stack.pages))


@pytest.mark.usefixtures("_one_process")
def test_the_server_logs_one_json_object_a_line_from_start_to_stop(stack):
    stack.compose("stop", *stack.services)
    for service in stack.services:
        lines = stack.json_logs(service)
        assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
        assert stack.logs(service, stdout=False) == []
        assert lines[0]["logger"] == "serve"
        assert any(line["message"].startswith("drain") for line in lines)
    stack.compose("start", *stack.services)
    answers(stack)


def test_what_is_logged_for_a_request_has_the_id_that_nginx_gave_it(stack):
    stack.browser().get("/nothing/here/")
    logs = {
        service: eventually(
            f"the request in the log of {service}",
            lambda service=service: [
                line for line in stack.json_logs(service) if "/nothing/here/" in str(line)
            ],
        )
        for service in ("nginx", stack.pages)
    }
    assert logs["nginx"][-1]["request_id"] in [line["request_id"] for line in logs[stack.pages]]
