"""A baked project's Compose stack, controlled and tested from outside."""

import asyncio
import json
import os
import random
import re
import socket as sockets
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import docker
import httpx
import yaml
from docker.models.containers import Container, ExecResult
from websockets.asyncio.client import connect as async_connect
from websockets.sync.client import ClientConnection, connect

from tests.fuzz import opening

PASSWORD = "correct horse battery staple"
T = TypeVar("T")


def free_port(*preferred: int) -> int:
    """Return the first of these ports that is free, or any other free one.

    The others are outside the kernel's ephemeral ports, so that no client of a test takes the port
    while its server is restarted.
    """
    while True:
        for port in [*preferred, *random.sample(range(20_000, 30_000), 10)]:
            with sockets.socket() as client:
                if client.connect_ex(("127.0.0.1", port)):
                    return port


def eventually(what: str, condition: Callable[[], T], seconds: float = 90) -> T:
    """Poll a condition until it is true, and return its value.

    Raises:
        AssertionError: it was not true within these seconds.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out after {seconds} s: {what}"
        time.sleep(0.1)
    return value


def run(coroutine: Coroutine[None, None, T]) -> T:
    """Run a coroutine in another thread and return its result: this one has Playwright's loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def cookie_header(browser: httpx.Client) -> str:
    """Return the Cookie header that a browser would send."""
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def form(browser: httpx.Client, **fields: str) -> dict[str, str]:
    """Return the data of a form: its fields and the CSRF token."""
    return fields | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}


def execute(container: Container, command: Sequence[str], *, user: str = "") -> ExecResult:
    """Run a command in a container, and return its exit status and output.

    Container.exec_run can lose output that arrives together with the engine's response:
    https://github.com/docker/docker-py/issues/2042

    Args:
        container: the container; if it does not run, the exit status is 1.
        command: the program and its arguments.
        user: a user name or id; by default, the container's.
    """
    done = subprocess.run(
        ["docker", "exec", f"--user={user}", container.id, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ExecResult(done.returncode, done.stdout)


def base_images(project: Path) -> set[str]:
    """Return the public images that a project's Dockerfile and compose.yaml name."""
    dockerfile = (project / "Dockerfile").read_text()
    named = re.findall(r"(?:^FROM |--from=)(\S+)", dockerfile, re.MULTILINE)
    named += re.findall(r"^ +image: (\S+)", (project / "compose.yaml").read_text(), re.MULTILINE)
    return {name for name in named if ":" in name}


@dataclass(frozen=True)
class Stack:
    """One stack: `docker compose` in a project's folder, and its HTTP and WebSocket clients."""

    project: Path
    port: int = field(default_factory=lambda: free_port(8000))
    settings: dict[str, str] = field(default_factory=dict)
    """The settings that `configure` writes to .env."""

    @property
    def url(self) -> str:
        """nginx's URL."""
        return f"http://localhost:{self.port}"

    def compose(self, *arguments: str) -> str:
        """Run `docker compose` and return its output.

        Raises:
            AssertionError: its exit status is not 0; the message is its output.
        """
        done = subprocess.run(
            ["docker", "compose", "--ansi=never", "--progress=plain", *arguments],
            cwd=self.project,
            env=os.environ | ({} if self.port == 8000 else {"HTTP_PORT": str(self.port)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def configure(self, **changes: str) -> bool:
        """Write .env for production as the project's README describes, with settings and changes.

        Returns:
            whether .env has changed. Running containers keep the old values until `up`.
        """
        text = (self.project / ".env.example").read_text()
        for key, value in (self.settings | changes).items():
            text, found = re.subn(f"^#?{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
            assert found == 1, key
        env = self.project / ".env"
        changed = env.read_text() != text
        env.write_text(text)
        return changed

    def up(self) -> None:
        """Build and start all services, and wait until they are healthy.

        Raises:
            AssertionError: a service is not healthy; the message ends with the containers' logs.
        """
        self.compose("build", "--quiet")
        try:
            self.compose("up", "--detach", "--wait")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail=20')}") from None

    @contextmanager
    def nginx(self, **changes: str) -> Iterator[None]:
        """Run nginx with changed settings, and restore them in the end.

        Args:
            changes: settings in .env. Other services keep theirs.
        """
        up = ["up", "--detach", "--no-deps", "--wait", "nginx"]
        self.configure(**changes)
        try:
            self.compose(*up)
            yield
        finally:
            self.configure()
            self.compose(*up)

    def down(self) -> None:
        """Remove the stack: containers, networks, volumes and images."""
        self.compose("down", "--volumes", "--rmi=local", "--remove-orphans")

    @cached_property
    def all_services(self) -> list[str]:
        """The services that keep running."""
        compose = (self.project / "compose.yaml").read_text()
        return [name for name in yaml.safe_load(compose)["services"] if name != "migrate"]

    @property
    def pages(self) -> str:
        """The service that serves HTTP: `web` if HTTP and WebSocket are split, else `app`."""
        return "web" if "web" in self.all_services else "app"

    @property
    def probes(self) -> list[str]:
        """The paths of the health checks of each service that runs the application."""
        prefixes = [""] if self.pages == "app" else ["", "/ws"]
        return [f"{prefix}{path}" for prefix in prefixes for path in ("/livez", "/readyz")]

    @property
    def services(self) -> list[str]:
        """The services that run the application."""
        return list(dict.fromkeys(["app", self.pages]))

    def manage(self, *arguments: str) -> str:
        """Run `manage.py` in an application container and return its output."""
        return self.compose("exec", "-T", "app", "python", "manage.py", *arguments)

    def redis_cli(self, *command: str) -> list[str]:
        """Return the words of Redis's reply to a command."""
        (redis,) = self.containers("redis")
        return execute(redis, ["redis-cli", *command]).output.decode().split()

    def add_user(self, username: str, *, staff: bool = False) -> None:
        """Create a user with PASSWORD."""
        create = "create_superuser" if staff else "create_user"
        code = f"from django.contrib.auth.models import User; User.objects.{create}"
        self.manage("shell", "-v0", "-c", f"{code}({username!r}, password={PASSWORD!r})")

    def image_bytes(self) -> int:
        """Return the size of the application's image without its base image."""
        (base,) = re.findall(r"FROM (\S+) AS base", (self.project / "Dockerfile").read_text())
        images = docker.from_env().images
        app = images.get(f"{self.project.name}-app")
        return app.attrs["Size"] - images.get(base).attrs["Size"]

    def containers(self, service: str) -> list[Container]:
        """Return the containers of a service, running or not, in the order of their numbers."""
        label = "com.docker.compose"
        containers = docker.from_env().containers.list(
            all=True,
            filters={
                "label": [f"{label}.project={self.project.name}", f"{label}.service={service}"]
            },
        )
        return sorted(containers, key=lambda container: container.name)

    def replicas(self) -> list[Container]:
        """Return the containers that run the application, of all services."""
        return [container for service in self.services for container in self.containers(service)]

    @property
    def nginx_address(self) -> str:
        """The address of nginx's container, to bypass Docker's proxy and its limits."""
        (nginx,) = self.containers("nginx")
        networks = nginx.attrs["NetworkSettings"]["Networks"].items()
        (address,) = [at["IPAddress"] for name, at in networks if name.endswith("_default")]
        return address

    def replica(self, name: str) -> Container:
        """Return the application container with this host name, as /whoami/ returns it."""
        (app,) = [app for app in self.containers("app") if app.id.startswith(name)]
        return app

    def logs(self, service: str, **options: object) -> list[str]:
        """Return the log lines of a service's containers.

        Args:
            service: one of those in compose.yaml.
            options: those of docker.models.containers.Container.logs, to select lines.
        """
        return [
            line
            for container in self.containers(service)
            for line in container.logs(**options).decode(errors="replace").splitlines()
        ]

    def json_logs(self, service: str, **options: object) -> list[dict]:
        """Return their lines on stdout, parsed. Raises ValueError if one is not JSON."""
        return [json.loads(line) for line in self.logs(service, stderr=False, **options)]

    def logged(self, agent: str) -> dict:
        """Wait for nginx's log line of the request with this User-Agent, and return it."""

        def found() -> list[dict]:
            return [line for line in self.json_logs("nginx") if line["agent"] == agent]

        (line,) = eventually(f"the request of {agent} in the log", found)
        return line

    def browser(self, username: str | None = None) -> httpx.Client:
        """Return an HTTP client, logged in if a user is given."""
        client = httpx.Client(base_url=self.url, timeout=20)
        if username:
            client.get("/accounts/login/").raise_for_status()
            fields = form(client, username=username, password=PASSWORD)
            answer = client.post("/accounts/login/", data=fields)
            assert answer.status_code == 302, answer.text
        return client

    def socket(
        self,
        path: str,
        browser: httpx.Client | None = None,
        *,
        origin: str | None = "self",
        headers: dict[str, str] | None = None,
        **options: object,
    ) -> AbstractContextManager[ClientConnection]:
        """Open a WebSocket, as a page of this site does.

        Args:
            path: of the URL.
            browser: the HTTP client whose cookies are sent.
            origin: the Origin header; None to send none.
            headers: additional headers.
            options: those of websockets.sync.client.connect.

        Raises:
            websockets.InvalidStatus: when entered; the handshake was refused.
        """
        cookie = {"Cookie": cookie_header(browser) if browser else ""}
        return connect(
            f"ws://localhost:{self.port}{path}",
            origin=self.url if origin == "self" else origin,
            additional_headers=cookie | (headers or {}),
            open_timeout=20,
            proxy=None,
            max_size=None,
            **options,
        )

    def async_socket(self, path: str, **options: object) -> async_connect:
        """Open a WebSocket like `socket`, in a coroutine.

        Args:
            path: of the URL.
            options: those of websockets.asyncio.client.connect.
        """
        url = f"ws://localhost:{self.port}{path}"
        return async_connect(url, origin=self.url, proxy=None, **options)

    def bare_socket(
        self, path: str, browser: httpx.Client | None = None, address: str | None = None
    ) -> sockets.socket:
        """Open a WebSocket without a protocol implementation: no ping is answered.

        Args:
            path: of the URL.
            browser: the HTTP client whose cookies are sent.
            address: that of nginx's container, to bypass Docker's proxy and its buffers.
        """
        at = (address, 8080) if address else ("127.0.0.1", self.port)
        client = sockets.create_connection(at, timeout=20)
        cookie = cookie_header(browser) if browser else ""
        client.sendall(opening(self.port, path, cookie, {}))
        assert client.recv(1024).startswith(b"HTTP/1.1 101 ")
        return client

    @contextmanager
    def room(self, name: str, browser: httpx.Client) -> Iterator["Room"]:
        """Join a room, and leave it in the end."""
        with self.socket(f"/ws/rooms/{name}/", browser) as connection:
            room = Room(connection, json.loads(connection.recv(timeout=20))["replica"])
            room.receive_type("subscribed")
            yield room


@dataclass(frozen=True)
class Room:
    """A client in a chat room."""

    connection: ClientConnection
    replica: str
    """The host name of the container that serves it."""

    def say(self, text: str, key: str | None = None) -> None:
        """Send a chat message; messages with the same key are published once."""
        self.connection.send(json.dumps({"type": "say", "text": text, "key": key}))

    def receive(self, timeout: float = 20) -> tuple[str, str]:
        """Return author and text of the next chat message. Raises TimeoutError."""
        data = self.receive_type("message", timeout)["data"]
        return data["author"], data["text"]

    def receive_type(self, kind: str, timeout: float = 20) -> dict:
        """Return the next message of a type. Raises TimeoutError if there is none in time."""
        deadline = time.monotonic() + timeout
        while True:
            message = json.loads(self.connection.recv(timeout=deadline - time.monotonic()))
            if message["type"] == kind:
                return message
