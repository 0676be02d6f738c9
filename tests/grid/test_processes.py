"""Start, stop, failure and replacement of server processes, through nginx."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import uuid4

import docker
import httpx
import pytest
from docker.models.containers import Container
from websockets import ConnectionClosed, InvalidStatus

from tests.baking import CONFIGURATION
from tests.stack import Stack, eventually, execute, run

pytestmark = pytest.mark.whole

HEALTHCHECK = ["python", "-m", "serve.healthcheck"]
# Run in the container, because nginx would reuse a few connections.
PROCESSES = """
from json import load
from urllib.request import urlopen

for _ in range(20):
    answer = load(urlopen("http://localhost:8000/extra/who/", timeout=5))
    print(answer["process"], answer["pid"])
"""

WEB_THREADS = 8  # the default


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(stack: Stack):
    """Restore the stack's settings."""
    yield
    restart(stack)


def restart(stack: Stack, **changes: str) -> None:
    """Run the stack with its settings and these changes."""
    if stack.configure(**changes):
        stack.compose("up", "--detach", "--wait")
        answers(stack)


def answers(stack: Stack) -> None:
    """Wait for a response: nginx resolves new replicas after a second or two."""
    eventually("a response", lambda: stack.browser().get("/livez").status_code == 200)


def alone(stack: Stack) -> dict[str, str]:
    """Return the settings for one replica of each service that runs the application."""
    return {f"{service.upper()}_REPLICAS": "1" for service in stack.services}


@pytest.fixture
def args(combination) -> str:
    """An option of the server's own, for which the environment has no variable."""
    return CONFIGURATION["_server_args"][combination["asgi_server"]]


@pytest.fixture
def _one_process(stack) -> None:
    """Run one replica with one process."""
    restart(stack, **alone(stack))


@pytest.fixture
def _two_processes(stack, args) -> None:
    """Run one replica with two processes."""
    restart(stack, **alone(stack), WEB_CONCURRENCY="2", SERVER_ARGS=args)


def slow_requests(
    stack: Stack, browser: httpx.Client, count: int, *, seconds: int = 1, begun: int | None = None
) -> list[Future[httpx.Response]]:
    """Send slow requests, wait until the application handles them, and return their futures.

    Args:
        stack: which logs when it begins to handle one.
        browser: sends them, each in a thread.
        count: how many.
        seconds: the time that the application takes for each.
        begun: the number of them that it handles at the same time; by default, all.
    """
    mark = uuid4().hex
    pool = ThreadPoolExecutor(count)
    path = f"/extra/slow/{seconds}/?mark={mark}"
    responses = [pool.submit(browser.get, path) for _ in range(count)]
    pool.shutdown(wait=False)  # its threads end with their requests

    def handled() -> int:
        return sum(f"slow request {mark} begun" in line for line in stack.logs(stack.pages))

    eventually("slow requests have begun", lambda: handled() >= (begun or count))
    return responses


def titles(container: Container) -> str:
    """Return the command lines of its processes; `docker top` may cut them off at 80 columns."""
    return execute(container, ["sh", "-c", "cat /proc/[0-9]*/cmdline"])[1].decode()


def test_connection_limit(stack):
    """Connections over MAX_CONNECTIONS are refused with 503 and Retry-After; /livez is not."""
    restart(stack, **alone(stack), MAX_CONNECTIONS="2")
    with stack.socket("/ws/echo/"), stack.socket("/ws/echo/"):
        with pytest.raises(InvalidStatus) as refused, stack.socket("/ws/echo/"):
            pass
        answer = refused.value.response
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        # Sockets count towards the limit for pages only where one server has both.
        assert stack.browser().get("/").status_code == (503 if stack.pages == "app" else 200)
        assert stack.browser().get("/livez").status_code == 200
    with stack.browser() as browser:
        eventually("free connections", lambda: browser.get("/").status_code == 200)
        slow = slow_requests(stack, browser, 2, seconds=6)
        page = browser.get("/")
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert browser.get("/livez").status_code == 200
        assert [answer.result().text for answer in slow] == ["done", "done"]


@pytest.mark.usefixtures("_one_process")
def test_busy_process(stack):
    """A busy process answers /livez within 1 s."""
    with stack.browser() as browser:
        # Over WSGI, the others wait for a thread.
        begun = 20 if stack.pages == "app" else WEB_THREADS
        slow = slow_requests(stack, browser, 20, begun=begun)
        started = time.monotonic()
        assert browser.get("/livez").status_code == 200
        assert time.monotonic() - started < 1
        assert [answer.result().text for answer in slow] == ["done"] * 20


def test_root_path(stack):
    """The site can be mounted under a path (ROOT_PATH)."""
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
    """Open sockets, call `act`, and count the close codes; 1006 means no close frame."""
    all_open = asyncio.Barrier(count + 1)

    async def close_code() -> int:
        async with stack.async_socket("/ws/extra/group/", open_timeout=30) as socket:
            await socket.recv()
            await all_open.wait()
            try:
                async with asyncio.timeout(30):
                    while True:
                        await socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

    closing = [asyncio.create_task(close_code()) for _ in range(count)]
    async with asyncio.timeout(90):  # a refused socket never reaches the barrier
        await all_open.wait()
    await asyncio.to_thread(act)
    return Counter(await asyncio.gather(*closing))


@pytest.mark.usefixtures("_one_process")
def test_sigterm(stack):
    """On SIGTERM, a running request is answered and 200 sockets are asked to reconnect (4000).

    disconnect() runs for each socket, and no subscription and no key without expiry is left in
    Redis.
    """
    slow = []
    with stack.browser() as browser:

        def stop() -> None:
            slow.extend(slow_requests(stack, browser, 1, seconds=3))
            stack.compose("stop", *stack.services)

        codes = run(sit_until_closed(stack, 200, stop))
        assert [answer.result().text for answer in slow] == ["done"]
    assert codes == {4000: 200}
    assert sum("disconnected with " in line["message"] for line in stack.json_logs("app")) == 200
    assert [app.wait()["StatusCode"] for app in stack.replicas()] == [0] * len(stack.services)
    assert stack.redis_cli("pubsub", "channels", "*") == []
    for key in stack.redis_cli("keys", "*"):
        assert stack.redis_cli("ttl", key) != ["-1"], f"{key} has no expiry"
    stack.compose("start", *stack.services)
    answers(stack)


def processes(app: Container) -> dict[str, str]:
    """Return the answering processes of a container and their ids; none if a request fails."""
    status, output = execute(app, ["python", "-c", PROCESSES])
    return dict(line.split() for line in output.decode().splitlines()) if status == 0 else {}


@pytest.mark.usefixtures("_two_processes")
def test_two_processes(stack, args):
    """Two processes share one address, and their sockets receive each other's messages."""
    path = "/ws/extra/group/"
    with stack.socket(path) as first:
        first_process = first.recv(timeout=20)
        second_process = first_process
        for _ in range(200):
            with stack.socket(path) as second:
                second_process = second.recv(timeout=20)
                if second_process != first_process:
                    first.send("hello")
                    assert first.recv(timeout=20) == second.recv(timeout=20) == "hello"
                    break
        assert second_process != first_process
    assert [line for line in stack.json_logs("app") if "level" not in line] == []
    assert args in titles(*stack.containers("app"))


@pytest.mark.usefixtures("_two_processes")
def test_killed_process(stack):
    """A killed process is replaced."""
    (app,) = stack.containers(stack.pages)
    seen: dict[str, str] = {}
    eventually("both answer", lambda: seen.update(processes(app)) or len(seen) == 2)
    killed = min(seen.values())
    assert execute(app, ["python", "-c", f"import os; os.kill({killed}, 9)"])[0] == 0
    eventually("a third one answers", lambda: processes(app).keys() - seen.keys())
    eventually("healthy", lambda: stack.containers(stack.pages)[0].health == "healthy")


def run_once(stack: Stack, service: str, *options: str, **environment: str) -> Container:
    """Start an additional container of a service, in the background."""
    options += tuple(f"--env={name}={value}" for name, value in environment.items())
    name = stack.compose("run", "--detach", "--no-deps", *options, service).split()[-1]
    return docker.from_env().containers.get(name)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_import_error(stack, processes):
    """After an import error, the server exits; its last log lines contain the reason."""
    settings = {"DJANGO_SETTINGS_MODULE": "extra.broken", "WEB_CONCURRENCY": processes}
    for service in stack.services:
        app = run_once(stack, service, **settings)
        try:
            assert app.wait(timeout=30)["StatusCode"] != 0
            assert "no module of that name" in app.logs(tail=40).decode()
        finally:
            app.remove(force=True)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_stale_socket_file(stack, processes, tmp_path):
    """A Unix socket file that a crash left behind does not prevent the next start."""
    tmp_path.chmod(0o777)
    settings = {"BIND": "unix:/sockets/app.sock", "WEB_CONCURRENCY": processes}
    for service in [*stack.services, *stack.services]:
        app = run_once(stack, service, f"--volume={tmp_path}:/sockets", **settings)
        try:
            eventually("a healthy container", lambda app=app: execute(app, HEALTHCHECK)[0] == 0)
        finally:
            app.remove(force=True)  # SIGKILL


def test_max_requests(stack):
    """Processes are replaced after MAX_REQUESTS, and no request fails."""
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
    """Return the number of processes that the logs report as replaced after MAX_REQUESTS."""
    return sum("after MAX_REQUESTS" in line for line in stack.logs(stack.pages))


@pytest.mark.usefixtures("_one_process")
def test_json_logs(stack):
    """Every log line from start to stop is one JSON object."""
    stack.compose("stop", *stack.services)
    for service in stack.services:
        lines = stack.json_logs(service)
        assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
        assert stack.logs(service, stdout=False) == []
        assert lines[0]["logger"] == "serve"
        assert any(line["message"].startswith("drain") for line in lines)
    stack.compose("start", *stack.services)
    answers(stack)


def test_request_id(stack):
    """Log lines of a request carry the request id that nginx assigned."""
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
