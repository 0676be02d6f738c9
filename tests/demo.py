"""Bake the defaults, start the project and print its address: `make demo`.

With Docker, `docker compose up`; without, the same project in one process.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from secrets import token_urlsafe

import httpx

from tests.baking import ROOT, bake
from tests.docker import engine, host, images
from tests.stack import Stack, base_images, eventually, free_port

DEMO = ROOT / ".demo"
PROJECT = DEMO / "out" / "my_project"
SERVER = DEMO / "server.pid"


def report(line: str) -> None:
    """Print a line of progress at once."""
    print(f"demo: {line}", flush=True)


def run(*command: str | Path, **environment: str) -> None:
    """Run a command in the project, printing its output only when it fails."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\ndemo: failed: {' '.join(map(str, command))}")


def is_server(pid: int) -> bool:
    """Whether a process runs and serves a baked project."""
    try:
        return b"config.asgi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has ended, or ends while it is read
        return False


def stop() -> None:
    """Stop an earlier demo, and remove it."""
    if not PROJECT.exists():
        return
    if SERVER.exists():
        pid = int(SERVER.read_text())
        if is_server(pid):
            os.kill(pid, signal.SIGTERM)
            # It still answers for some seconds, and needs its folder until then.
            eventually("the end of the earlier demo", lambda: not is_server(pid))
    elif found := engine.current():
        os.environ.update(found.env)
        Stack(PROJECT).down()
    shutil.rmtree(DEMO)


def with_docker(found: engine.Engine, port: int, account: dict[str, str]) -> None:
    """Start the development stack. It goes on when this process has ended."""
    os.environ.update(found.env)
    report("getting the base images")
    images.ensure(base_images(PROJECT))
    report("docker compose up: building, migrating, starting nginx, two replicas and Redis")
    stack = Stack(PROJECT, port)
    stack.up()
    settings = [f"--env={name}={value}" for name, value in account.items()]
    create = ["python", "manage.py", "createsuperuser", "--no-input"]
    stack.compose("exec", "-T", *settings, "app", *create)


def without_docker(port: int, account: dict[str, str]) -> None:
    """Start the server by itself, in the background."""
    report("no Docker engine answers: serving without Docker, on SQLite and in one process")
    report("installing the project's packages")
    run("uv", "venv", "--quiet")
    python = PROJECT / ".venv" / "bin" / "python"
    run("uv", "pip", "sync", "--quiet", f"--python={python}", "requirements.txt")
    run(python, "manage.py", "migrate", "--verbosity=0")
    run(python, "manage.py", "createsuperuser", "--no-input", **account)
    with (DEMO / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "serve"],
            cwd=PROJECT,
            env=os.environ | {"BIND": f"127.0.0.1:{port}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    SERVER.write_text(str(server.pid))


def answers(url: str) -> bool:
    """Whether a page is served. A refused connection counts as no."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop and remove an earlier demo")
    stop()
    if parser.parse_args().stop:
        return
    report("baking the defaults")
    bake(DEMO)
    port = free_port(8000)
    url = f"http://localhost:{port}/"
    password = token_urlsafe(9)
    account = {
        "DJANGO_SUPERUSER_USERNAME": "demo",
        "DJANGO_SUPERUSER_PASSWORD": password,
        "DJANGO_SUPERUSER_EMAIL": "demo@example.com",
    }
    try:
        if found := engine.current():
            with_docker(found, port, account)
        else:
            without_docker(port, account)
        eventually(f"an answer from {url}; see {DEMO}", lambda: answers(url))
    except (host.DockerHostError, AssertionError) as error:
        sys.exit(f"demo: {error}")
    report(f"log in as demo with the password {password}; stop it with `make demo-stop`")
    report(f"serving at {url}")


if __name__ == "__main__":
    main()
