"""The containers themselves: what they may do, and what they say."""

import json
import re
import time
from datetime import datetime
from uuid import uuid4

import pytest
from docker.models.containers import Container

from tests.stack import Stack, eventually, execute

KNOWN_WARNINGS = [
    # Redis asks for a setting of the machine's kernel, which no container can change.
    "Memory overcommit must be enabled",
    # Postgres, when its volume is made: who is in its container needs no password.
    'enabling "trust" authentication for local connections',
]


@pytest.fixture
def containers(stack: Stack) -> dict[str, Container]:
    """A container of each service that stays up."""
    return {service: stack.containers(service)[0] for service in stack.all_services}


def test_nobody_is_root(containers):
    for service, container in containers.items():
        status, output = execute(container, ["cat", "/proc/1/status"])
        assert status == 0, service
        uids = re.search(rb"^Uid:\s+(\d+)\s+(\d+)", output, re.MULTILINE).groups()
        assert b"0" not in uids, service


def test_nothing_can_be_written_but_what_is_meant_to(containers):
    for service, container in containers.items():
        for folder in ("/", "/etc", "/usr", "/var", "/opt", "/app", "/srv"):
            status, output = execute(container, ["touch", f"{folder}/x"], user="0")
            assert status, (service, folder)
            assert b"Read-only" in output or b"No such file" in output, (service, folder)


def test_no_privilege_is_held_or_can_be_had(containers):
    for service, container in containers.items():
        _, status = execute(container, ["cat", "/proc/1/status"])
        for line in (rb"CapEff:\s+0+", rb"CapBnd:\s+0+", rb"NoNewPrivs:\s+1"):
            assert re.search(rb"^%b$" % line, status, re.MULTILINE), (service, line)


def test_a_crash_brings_it_back(containers):
    for service, container in containers.items():
        policy = container.attrs["HostConfig"]["RestartPolicy"]["Name"]
        assert policy == "unless-stopped", service


def test_memory_and_processes_are_limited(containers):
    for service, container in containers.items():
        assert container.attrs["HostConfig"]["Memory"] > 0, service
        assert container.attrs["HostConfig"]["PidsLimit"] > 0, service


def test_only_nginx_can_be_reached_from_outside(stack):
    published = {
        service: any(container.ports.values())
        for service in stack.all_services
        for container in stack.containers(service)
    }
    assert [service for service, is_published in published.items() if is_published] == ["nginx"]


def test_no_volume_without_a_name_is_left_behind_by_each_start(containers):
    for service, container in containers.items():
        mounts = container.attrs["Mounts"]
        names = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
        assert not [name for name in names if re.fullmatch("[0-9a-f]{64}", name)], service


def test_the_database_was_migrated_once_before_the_application_started(stack):
    (migrate,) = stack.containers("migrate")
    assert migrate.attrs["State"]["ExitCode"] == 0
    finished = migrate.attrs["State"]["FinishedAt"]
    for app in stack.replicas():
        assert app.attrs["State"]["StartedAt"] > finished


def children(container: Container) -> list[str]:
    """Return the processes that the first one of a container has started."""
    _, output = execute(container, ["cat", "/proc/1/task/1/children"])
    return output.decode().split()


def open_files(container: Container, pid: str) -> tuple[str, ...]:
    """Return how many open files a process may have, and how many it could ask for."""
    _, limits = execute(container, ["cat", f"/proc/{pid}/limits"])
    return re.search(r"^Max open files +(\d+) +(\d+)", limits.decode(), re.MULTILINE).groups()


def test_the_server_uses_all_the_open_files_that_it_may(stack):
    for app in stack.replicas():
        assert open_files(app, children(app)[0]) == ("8192", "8192")
        assert "up to 8192 open files" in app.logs().decode()


def test_nginx_uses_them_too(stack):
    (nginx,) = stack.containers("nginx")
    assert children(nginx)
    for worker in children(nginx):
        assert open_files(nginx, worker) == ("8192", "8192")


def test_nginx_logs_one_json_object_a_line_without_query_strings(stack):
    agent = uuid4().hex
    stack.browser().get("/?secret=hidden", headers={"User-Agent": agent}).raise_for_status()
    line = stack.logged(agent)
    assert (line["path"], line["status"]) == ("/", 200)
    assert len(line["request_id"]) == 32
    assert "hidden" not in "".join(stack.logs("nginx"))


def test_nothing_is_left_in_the_image_that_only_the_build_needed(stack):
    app = stack.containers("app")[0]
    for program in ("uv", "gcc", "git"):
        assert execute(app, ["which", program])[0] == 1
    _, files = execute(app, ["ls", "-A", "/app"])
    assert set(files.decode().split()) - {"extra"} == {  # which these tests have mounted
        *("__pycache__", "config", "manage.py", "realtime", "rooms", "serve", "staticfiles")
    }
    assert execute(app, ["ls", "/app/config/__pycache__"])[0] == 0


def test_the_image_is_small(stack, combination):
    most = 75_000_000
    if combination["asgi_server"] == "daphne":
        most += 43_000_000  # Twisted, with its TLS
    if combination["database"] == "postgres":
        most += 10_000_000  # psycopg, with libpq
    assert stack.image_bytes() < most


def test_replicas_come_and_go_while_it_runs(stack):
    browser = stack.browser("root")

    def replicas() -> set[str]:
        return {browser.get("/whoami/").raise_for_status().json()["replica"] for _ in range(12)}

    try:
        stack.compose("up", "--detach", "--no-recreate", "--scale", f"{stack.pages}=3")
        eventually("three replicas answer", lambda: len(replicas()) == 3)
    finally:
        stack.compose("up", "--detach", "--no-recreate", "--scale", f"{stack.pages}=2")
    eventually("two replicas answer", lambda: len(replicas()) == 2)
    assert [browser.get("/").status_code for _ in range(20)] == [200] * 20


def alarms(stack: Stack, **period: float) -> list[str]:
    """Return the lines of all services in a period that would make somebody look twice."""
    lines = [
        line
        for service in [*stack.all_services, "migrate"]
        for line in stack.logs(service, **period)
    ]
    said = [line for line in lines if not line.startswith(("{", "  Applying "))]
    unknown = [line for line in said if not any(known in line for known in KNOWN_WARNINGS)]
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        *(line for line in unknown if re.search("warn|error|traceback|fail", line, re.IGNORECASE)),
        *(str(entry) for entry in logged if entry.get("level", "INFO") not in {"DEBUG", "INFO"}),
        *(str(entry) for entry in logged if entry.get("status", 200) >= 500),
    ]


def test_it_starts_and_serves_without_a_word_of_warning(stack):
    (nginx,) = stack.containers("nginx")
    started = datetime.fromisoformat(nginx.attrs["State"]["StartedAt"]).timestamp()
    assert alarms(stack, until=started) == []
    before = time.time()
    stack.browser("ada").get("/rooms/lobby/").raise_for_status()
    with stack.socket("/ws/echo/") as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"
    assert alarms(stack, since=before, until=time.time()) == []
