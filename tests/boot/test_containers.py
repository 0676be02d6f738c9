"""The containers: privileges, limits, images and logs."""

import json
import re
import time
from datetime import datetime
from uuid import uuid4

import pytest
from docker.models.containers import Container

from tests.stack import Stack, eventually, execute

KNOWN_WARNINGS = [
    # Redis asks for a kernel setting of the host, which no container can change.
    "Memory overcommit must be enabled",
    # Postgres, when it initializes its volume: connections from its own container need no password.
    'enabling "trust" authentication for local connections',
]


@pytest.fixture
def containers(stack: Stack) -> dict[str, Container]:
    """Return a container of each long-running service."""
    return {service: stack.containers(service)[0] for service in stack.all_services}


def test_no_root_user(containers):
    """No container runs as root."""
    for service, container in containers.items():
        status, output = execute(container, ["cat", "/proc/1/status"])
        assert status == 0, service
        uids = re.search(rb"^Uid:\s+(\d+)\s+(\d+)", output, re.MULTILINE).groups()
        assert b"0" not in uids, service


def test_read_only_root(containers):
    """The root file system of every container is read-only, for root as well."""
    for service, container in containers.items():
        for folder in ("/", "/etc", "/usr", "/var", "/opt", "/app", "/srv"):
            status, output = execute(container, ["touch", f"{folder}/x"], user="0")
            assert status, (service, folder)
            assert b"Read-only" in output or b"No such file" in output, (service, folder)


def test_no_privileges(containers):
    """Containers run without capabilities and cannot gain privileges."""
    for service, container in containers.items():
        _, status = execute(container, ["cat", "/proc/1/status"])
        for line in (rb"CapEff:\s+0+", rb"CapBnd:\s+0+", rb"NoNewPrivs:\s+1"):
            assert re.search(rb"^%b$" % line, status, re.MULTILINE), (service, line)


def test_restart_policy(containers):
    """Docker restarts every container after a crash."""
    for service, container in containers.items():
        policy = container.attrs["HostConfig"]["RestartPolicy"]["Name"]
        assert policy == "unless-stopped", service


def test_resource_limits(containers):
    """Every container has a memory limit and a process limit."""
    for service, container in containers.items():
        assert container.attrs["HostConfig"]["Memory"] > 0, service
        assert container.attrs["HostConfig"]["PidsLimit"] > 0, service


def test_published_ports(stack):
    """Only nginx publishes ports."""
    published = {
        service: any(container.ports.values())
        for service in stack.all_services
        for container in stack.containers(service)
    }
    assert [service for service, is_published in published.items() if is_published] == ["nginx"]


def test_no_anonymous_volumes(containers):
    """Containers have no anonymous volumes, which every start would leave behind."""
    for service, container in containers.items():
        mounts = container.attrs["Mounts"]
        names = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
        assert not [name for name in names if re.fullmatch("[0-9a-f]{64}", name)], service


def test_migrations_run_first(stack):
    """The database is migrated once, before the application starts."""
    (migrate,) = stack.containers("migrate")
    assert migrate.attrs["State"]["ExitCode"] == 0
    finished = migrate.attrs["State"]["FinishedAt"]
    for app in stack.replicas():
        assert app.attrs["State"]["StartedAt"] > finished


def child_pids(container: Container) -> list[str]:
    """Return the ids of the child processes of a container's main process."""
    _, output = execute(container, ["cat", "/proc/1/task/1/children"])
    return output.decode().split()


def open_file_limits(container: Container, pid: str) -> tuple[str, ...]:
    """Return a process's limits of open files, soft and hard."""
    _, limits = execute(container, ["cat", f"/proc/{pid}/limits"])
    return re.search(r"^Max open files +(\d+) +(\d+)", limits.decode(), re.MULTILINE).groups()


def test_server_open_file_limit(stack):
    """The server raises its open-file limit to the hard limit."""
    for app in stack.replicas():
        assert open_file_limits(app, child_pids(app)[0]) == ("8192", "8192")
        assert "up to 8192 open files" in app.logs().decode()


def test_nginx_open_file_limit(stack):
    """nginx's workers raise their open-file limit to the hard limit."""
    (nginx,) = stack.containers("nginx")
    assert child_pids(nginx)
    for worker in child_pids(nginx):
        assert open_file_limits(nginx, worker) == ("8192", "8192")


def test_nginx_access_log(stack):
    """nginx logs a JSON object per line, without query strings."""
    agent = uuid4().hex
    stack.browser().get("/?secret=hidden", headers={"User-Agent": agent}).raise_for_status()
    line = stack.logged(agent)
    assert (line["path"], line["status"]) == ("/", 200)
    assert len(line["request_id"]) == 32
    assert "hidden" not in "".join(stack.logs("nginx"))


def test_image_contents(stack):
    """The image contains the application, and none of the build's tools."""
    app = stack.containers("app")[0]
    for program in ("uv", "gcc", "git"):
        assert execute(app, ["which", program])[0] == 1
    _, files = execute(app, ["ls", "-A", "/app"])
    assert set(files.decode().split()) - {"extra"} == {  # mounted by these tests
        *("__pycache__", "config", "manage.py", "realtime", "rooms", "serve", "staticfiles")
    }
    assert execute(app, ["ls", "/app/config/__pycache__"])[0] == 0


def test_image_size(stack, combination):
    """The image adds less than 75 MB to its base; more for Daphne and for psycopg."""
    most = 75_000_000
    if combination["asgi_server"] == "daphne":
        most += 43_000_000  # Twisted, with its TLS
    if combination["database"] == "postgres":
        most += 10_000_000  # psycopg, with libpq
    assert stack.image_bytes() < most


def test_scaling(stack):
    """nginx uses added replicas, and stops using removed ones, without a restart."""
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


def logged_warnings(stack: Stack, **period: float) -> list[str]:
    """Return the warnings and errors that all services have logged in a period."""
    lines = [
        line
        for service in [*stack.all_services, "migrate"]
        for line in stack.logs(service, **period)
    ]
    plain = [line for line in lines if not line.startswith(("{", "  Applying "))]
    unknown = [line for line in plain if not any(known in line for known in KNOWN_WARNINGS)]
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        *(line for line in unknown if re.search("warn|error|traceback|fail", line, re.IGNORECASE)),
        *(str(entry) for entry in logged if entry.get("level", "INFO") not in {"DEBUG", "INFO"}),
        *(str(entry) for entry in logged if entry.get("status", 200) >= 500),
    ]


def test_no_warnings_in_logs(stack):
    """The stack starts and serves without a warning in any log."""
    (nginx,) = stack.containers("nginx")
    started = datetime.fromisoformat(nginx.attrs["State"]["StartedAt"]).timestamp()
    assert logged_warnings(stack, until=started) == []
    before = time.time()
    stack.browser("ada").get("/rooms/lobby/").raise_for_status()
    with stack.socket("/ws/echo/") as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"
    assert logged_warnings(stack, since=before, until=time.time()) == []
