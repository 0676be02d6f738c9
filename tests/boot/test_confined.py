"""Confinement: an attacker's means inside a container, and secrets readable outside of it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.models.containers import Container

from tests.stack import Stack, execute

# Prints the folders in which a file can be created.
FIND_WRITABLE = """
import json, os, tempfile
found = []
for folder, folders, _ in os.walk("/"):
    if folder in ("/proc", "/sys"):
        folders.clear()
        continue
    try:
        tempfile.TemporaryFile(dir=folder).close()
        found.append(folder)
    except OSError:
        pass
print(json.dumps(found))
"""

# Prints those addresses of its command line that accept a connection.
FIND_REACHABLE = """
import json, socket, sys
found = []
for address in sys.argv[1:]:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        found.append(address)
    except OSError:
        pass
print(json.dumps(found))
"""

# Prints Postgres's answer to a query of a role that logs in with the application's password.
QUERY_POSTGRES = """
import json, psycopg, sys
user, query = sys.argv[1:]
with open("/run/secrets/postgres_password") as file:
    password = file.read().strip()
try:
    with psycopg.connect(host="postgres", dbname="app", user=user, password=password) as database:
        answer = database.execute(query)
        print(json.dumps(answer.fetchall() if answer.description else [answer.statusmessage]))
except psycopg.Error as error:
    print(json.dumps([str(error)]))
"""


def run_python(container: Container, script: str, *arguments: str) -> list[str]:
    """Run a script in a container and return the list that it prints."""
    status, output = execute(container, ["python", "-c", script, *arguments])
    assert status == 0, output.decode()
    return json.loads(output)


def test_writable_folders(stack, combination):
    """The application can write to memory, mounted noexec, and to its database only."""
    data = {"/data"} if combination["database"] == "sqlite" else set()
    for app in stack.replicas():
        # Folders in /tmp, such as that of the control sockets, are on the same mount.
        folders = run_python(app, FIND_WRITABLE)
        writable = {folder for folder in folders if not folder.startswith("/tmp/")}
        assert {folder for folder in writable if not folder.startswith("/dev/")} == {"/tmp"} | data
        assert writable - {"/tmp", "/dev/shm", "/dev/mqueue"} == data
        _, mounts = execute(app, ["cat", "/proc/mounts"])
        options = re.search(r"^tmpfs /tmp tmpfs (\S+)", mounts.decode(), re.MULTILINE)[1]
        assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))


def test_outbound_network_access(stack):
    """The application reaches Redis and the database, but neither the host nor the Internet."""
    outside = ["1.1.1.1:53", "example.org:443"]
    for app in stack.replicas():
        networks = app.attrs["NetworkSettings"]["Networks"]
        assert {name.split("_")[-1] for name in networks} == {"front", "back"}
        # The host's address in each network, where it has one.
        hosts = [re.sub(r"\d+$", "1", network["IPAddress"]) for network in networks.values()]
        host_ports = [f"{host}:{port}" for host in hosts for port in (22, stack.port, 2375)]
        services = ["redis:6379", *(["postgres:5432"] if stack.containers("postgres") else [])]
        assert run_python(app, FIND_REACHABLE, *outside, *host_ports, *services) == services
        _, routes = execute(app, ["cat", "/proc/net/route"])
        destinations = [line.split("\t")[1] for line in routes.decode().splitlines()[1:]]
        assert len(destinations) == 2
        assert "00000000" not in destinations  # the default route


def test_network_isolation(stack):
    """Only nginx has outbound network access, and it cannot resolve Redis or the database."""
    for service in set(stack.all_services) - {"nginx"}:
        for container in stack.containers(service):
            for network in container.attrs["NetworkSettings"]["Networks"]:
                attributes = container.client.networks.get(network).attrs
                assert attributes["Internal"], (service, network)
    (nginx,) = stack.containers("nginx")
    for service in ("redis", "postgres"):
        assert execute(nginx, ["getent", "hosts", service])[0] != 0
    assert execute(nginx, ["getent", "hosts", "app"])[0] == 0


@pytest.mark.only(database="postgres")
def test_postgres_role_privileges(stack):
    """The application's role in Postgres has no administrative privileges."""
    rights = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    query = f"SELECT rolname, {rights} FROM pg_roles WHERE rolname = current_user"
    for app in stack.replicas():
        assert run_python(app, QUERY_POSTGRES, "app", query) == [["app", *[False] * 5]]


@pytest.mark.only(database="postgres")
def test_postgres_program_execution(stack):
    """Postgres refuses to run a program for the application's role."""
    for app in stack.replicas():
        (refusal,) = run_python(app, QUERY_POSTGRES, "app", "COPY (SELECT 1) TO PROGRAM 'true'")
        assert "permission denied" in refusal


@pytest.mark.only(database="postgres")
def test_postgres_password_scope(stack):
    """The application's password does not authenticate the Postgres superuser."""
    app = stack.containers("app")[0]
    roles = run_python(
        app, QUERY_POSTGRES, "app", "SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1"
    )
    assert roles == [["app"], ["postgres"]]
    (refusal,) = run_python(app, QUERY_POSTGRES, "postgres", "SELECT 1")
    assert 'password authentication failed for user "postgres"' in refusal


def secrets(stack: Stack) -> list[str]:
    """Return the text of every secret."""
    return [path.read_text().strip() for path in (stack.project / "secrets").iterdir()]


def test_secrets_do_not_leak(stack, combination):
    """No secret is in an image, a volume, an environment, a command line or a log."""
    assert len(secrets(stack)) == 1 + (combination["database"] == "postgres")
    for service in [*stack.all_services, "migrate"]:
        for container in stack.containers(service):
            seen = json.dumps(container.attrs) + json.dumps(container.image.attrs)
            seen += json.dumps(container.image.history())
            seen += container.logs().decode(errors="replace")
            # The entrypoint of Postgres's image passes the password on by the environment.
            if container.status == "running" and service != "postgres":
                environ = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null"
                seen += execute(container, ["sh", "-c", environ])[1].decode()
                assert "PATH=" in seen
            for secret in secrets(stack):
                assert secret not in seen, service
    app = stack.containers("app")[0]
    volumes = [mount["Destination"] for mount in app.attrs["Mounts"] if mount["Type"] == "volume"]
    for secret in secrets(stack):
        status, found = execute(app, ["grep", "-rlF", "-e", secret, "/app", "/opt/venv", *volumes])
        assert (status, found) == (1, b"")


@contextmanager
def replaced(secret: Path, text: str | None) -> Iterator[None]:
    """Replace the text of a secret's file, or remove the file, for the duration of a block."""
    kept = secret.rename(secret.with_suffix(".kept"))
    if text is not None:
        secret.write_text(text)
    try:
        yield
    finally:
        kept.rename(secret)


@pytest.mark.parametrize("text", [None, ""], ids=["missing", "empty"])
def test_missing_secret(stack, text):
    """A missing or empty secret stops the startup with an error that names it."""
    command = ["run", "--rm", "--no-deps", "app", "python", "-m", "serve", "--print"]
    name = "SECRET_KEY" if text == "" else "secrets/secret_key"
    with (
        replaced(stack.project / "secrets" / "secret_key", text),
        pytest.raises(AssertionError) as refused,
    ):
        stack.compose(*command)
    (line,) = [line for line in str(refused.value).splitlines() if name in line]
    assert "Traceback" not in str(refused.value)
    assert "--bind" not in line
