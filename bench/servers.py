"""Measure memory, CPU and shutdown of each ASGI server, without a proxy: `python -m bench.servers`.

Memory and CPU time are those of the server's processes, so that a slow client or a busy machine has
no influence. Rounds alternate between the servers; the figures are medians.
"""

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect

from tests.baking import CHOICES, bake
from tests.stack import eventually, free_port

ROUNDS = 3
IDLE = 1000  # sockets
TALKING = 20  # sockets
MESSAGES = 500  # for each of them
PAGES = 500
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen
    port: int

    def folders(self) -> list[Path]:
        """Return the folders in /proc of its process and of that process's children."""
        mine = Path(f"/proc/{self.process.pid}")
        children = (mine / "task" / mine.name / "children").read_text().split()
        return [mine, *(Path(f"/proc/{child}") for child in children)]

    def megabytes(self) -> float:
        """Return its resident memory."""
        statuses = "".join((folder / "status").read_text() for folder in self.folders())
        return sum(int(kB) for kB in re.findall(r"VmRSS:\s+(\d+) kB", statuses)) / 1024

    def seconds(self) -> float:
        """Return its CPU time in seconds."""
        stats = [(folder / "stat").read_text().rpartition(")")[2] for folder in self.folders()]
        return sum(int(stat.split()[11]) + int(stat.split()[12]) for stat in stats) / TICKS

    def connect(self) -> connect:
        """Open a WebSocket to the echo consumer."""
        url = f"ws://127.0.0.1:{self.port}/ws/echo/"
        origin = f"http://127.0.0.1:{self.port}"
        return connect(url, origin=origin, proxy=None, compression=None, open_timeout=60)

    def answers(self) -> bool:
        """Whether it serves HTTP."""
        assert self.process.poll() is None, "it has ended"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/livez").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(project: Path, python: Path) -> Iterator[Server]:
    """Run a project as in production, but without Redis."""
    port = free_port()
    settings = {
        "BIND": f"127.0.0.1:{port}",
        "DEBUG": "false",
        "SECRET_KEY": "x" * 50,
        "ALLOWED_HOSTS": "127.0.0.1",
        "DRAIN_SECONDS": "2",
    }
    process = subprocess.Popen(
        [python, "-m", "serve"],
        cwd=project,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server = Server(process, port)
        eventually("a response", server.answers)
        yield server
    finally:
        process.kill()
        process.wait()


async def echo(socket: ClientConnection, messages: int) -> None:
    """Send messages, each after the echo of the one before."""
    for number in range(messages):
        await socket.send(str(number))
        assert await socket.recv() == str(number)


async def close_code(socket: ClientConnection) -> int:
    """Wait until the server closes a socket, and return the code; 1006 means no close frame."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


async def measure(server: Server) -> dict[str, float]:
    """Return the figures of one run of a server."""
    found = {"MB at start": server.megabytes()}

    async with asyncio.TaskGroup() as opening:
        first = [opening.create_task(server.connect().__aenter__()) for _ in range(TALKING)]
    talking = [task.result() for task in first]
    await asyncio.gather(*(echo(socket, 20) for socket in talking))
    before = server.seconds()
    await asyncio.gather(*(echo(socket, MESSAGES) for socket in talking))
    found["µs per message"] = (server.seconds() - before) * 1e6 / (TALKING * MESSAGES)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        await client.get("/")
        before = server.seconds()
        for _ in range(PAGES):
            (await client.get("/")).raise_for_status()
        found["µs per page"] = (server.seconds() - before) * 1e6 / PAGES

    before = server.megabytes()
    sockets = []
    for _ in range(IDLE // 100):
        async with asyncio.TaskGroup() as opening:
            tasks = [opening.create_task(server.connect().__aenter__()) for _ in range(100)]
        sockets += [task.result() for task in tasks]
    found["kB per idle socket"] = (server.megabytes() - before) * 1024 / IDLE

    closing = [asyncio.create_task(close_code(socket)) for socket in [*talking, *sockets]]
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    codes = await asyncio.gather(*closing)
    assert set(codes) == {4000}
    found["s to drain 1,000 sockets"] = time.monotonic() - started
    await asyncio.to_thread(server.process.wait, 30)
    found["s to exit"] = time.monotonic() - started
    return found


def main() -> None:
    """Print a table of figures × servers."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CHOICES["asgi_server"]}
    with TemporaryDirectory() as folder:
        projects = {}
        for name in rounds:
            project = bake(Path(folder) / name, project_slug="benched", asgi_server=name)
            subprocess.run(["uv", "venv", "--quiet", project / ".venv"], check=True)
            python = project / ".venv" / "bin" / "python"
            install = ["uv", "pip", "sync", "--quiet", "--python", python, "requirements.txt"]
            subprocess.run(install, cwd=project, check=True)
            subprocess.run([python, "manage.py", "collectstatic", "-v0"], cwd=project, check=True)
            projects[name] = project, python
        for number in range(ROUNDS):
            for name, (project, python) in projects.items():
                print(f"round {number + 1}: {name}", file=sys.stderr)
                with running(project, python) as server:
                    rounds[name].append(asyncio.run(measure(server)))
    print(f"| | {' | '.join(rounds)} |\n|---|{'---|' * len(rounds)}")
    for what in next(iter(rounds.values()))[0]:
        figures = [median(found[what] for found in rounds[name]) for name in rounds]
        print(f"| {what} | {' | '.join(f'{figure:.3g}' for figure in figures)} |")


if __name__ == "__main__":
    main()
