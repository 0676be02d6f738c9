"""What somebody could do who had got into a container, and what is to be read outside of it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.models.containers import Container

from tests.stack import Stack, execute

# Prints the folders in which a file can be made.
WRITABLE = """
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

# Prints which of the addresses on its command line accept a connection.
REACHED = """
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

# Prints what Postgres answers to a query of a role that has the application's password.
ASKED = """
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


def python(container: Container, script: str, *arguments: str) -> list[str]:
    """Run a script in a container and return the list that it prints."""
    status, output = execute(container, ["python", "-c", script, *arguments])
    assert status == 0, output.decode()
    return json.loads(output)


def test_nothing_can_be_written_but_memory_and_the_database(stack, combination):
    data = {"/data"} if combination["database"] == "sqlite" else set()
    for app in stack.replicas():
        writable = set(python(app, WRITABLE))
        assert {folder for folder in writable if not folder.startswith("/dev/")} == {"/tmp"} | data
        assert writable - {"/tmp", "/dev/shm", "/dev/mqueue"} == data
        _, mounts = execute(app, ["cat", "/proc/mounts"])
        options = re.search(r"^tmpfs /tmp tmpfs (\S+)", mounts.decode(), re.MULTILINE)[1]
        assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))


def test_the_application_reaches_its_services_and_nothing_else(stack):
    outside = ["1.1.1.1:53", "example.org:443"]
    for app in stack.replicas():
        networks = app.attrs["NetworkSettings"]["Networks"]
        assert {name.split("_")[-1] for name in networks} == {"front", "back"}
        # The address that this machine has in each of them, where it has one.
        hosts = [re.sub(r"\d+$", "1", network["IPAddress"]) for network in networks.values()]
        doors = [f"{host}:{port}" for host in hosts for port in (22, stack.port, 2375)]
        services = ["redis:6379", *(["postgres:5432"] if stack.containers("postgres") else [])]
        assert python(app, REACHED, *outside, *doors, *services) == services
        _, routes = execute(app, ["cat", "/proc/net/route"])
        destinations = [line.split("\t")[1] for line in routes.decode().splitlines()[1:]]
        assert len(destinations) == 2
        assert "00000000" not in destinations  # the default route


def test_only_the_proxy_has_a_way_out_and_it_does_not_know_where_the_data_is(stack):
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
def test_the_application_is_no_superuser_of_postgres(stack):
    rights = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    query = f"SELECT rolname, {rights} FROM pg_roles WHERE rolname = current_user"
    for app in stack.replicas():
        assert python(app, ASKED, "app", query) == [["app", *[False] * 5]]


@pytest.mark.only(database="postgres")
def test_no_query_runs_a_program_where_postgres_is(stack):
    for app in stack.replicas():
        (refusal,) = python(app, ASKED, "app", "COPY (SELECT 1) TO PROGRAM 'true'")
        assert "permission denied" in refusal


@pytest.mark.only(database="postgres")
def test_the_password_of_the_application_lets_nobody_else_into_postgres(stack):
    app = stack.containers("app")[0]
    roles = python(app, ASKED, "app", "SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1")
    assert roles == [["app"], ["postgres"]]
    (refusal,) = python(app, ASKED, "postgres", "SELECT 1")
    assert 'password authentication failed for user "postgres"' in refusal


def secrets(stack: Stack) -> list[str]:
    """Return the text of each secret."""
    return [path.read_text().strip() for path in (stack.project / "secrets").iterdir()]


def test_no_secret_is_in_an_image_a_volume_the_environment_or_a_log(stack, combination):
    assert len(secrets(stack)) == 1 + (combination["database"] == "postgres")
    for service in [*stack.all_services, "migrate"]:
        for container in stack.containers(service):
            seen = json.dumps(container.attrs) + json.dumps(container.image.attrs)
            seen += json.dumps(container.image.history())
            seen += container.logs().decode(errors="replace")
            # The image of Postgres hands its password on to itself in this way.
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
    """Have another text in the file of a secret, or no file, for a while."""
    kept = secret.rename(secret.with_suffix(".kept"))
    if text is not None:
        secret.write_text(text)
    try:
        yield
    finally:
        kept.rename(secret)


@pytest.mark.parametrize("text", [None, ""], ids=["missing", "empty"])
def test_a_secret_that_is_missing_stops_the_start_with_a_line_that_names_it(stack, text):
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
