"""CONTRIBUTING's recipe "Add a server", followed with a toy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.baking import ROOT, bake
from tests.stack import eventually, free_port

TOY = Path(__file__).parent / "toy_server"


@pytest.fixture
def template(tmp_path) -> Path:
    """A copy of the template, with the toy server added by the recipe's steps."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".demo", "*_cache", "__pycache__")
    copy = shutil.copytree(ROOT, tmp_path / "template", ignore=ignored)
    # 1. Its entry in cookiecutter.json.
    configuration = json.loads((copy / "cookiecutter.json").read_text())
    configuration["asgi_server"].append("toy")
    configuration["__prompts__"]["asgi_server"]["toy"] = "toy - for a test"
    configuration["_requirements"]["toy"] = ["h11>=0.16,<1", "wsproto>=1.3,<2"]
    configuration["_server_args"]["toy"] = "--backlog=1024"
    (copy / "cookiecutter.json").write_text(json.dumps(configuration))
    # 2. Its two files.
    for kind in ("server", "worker"):
        shutil.copy(TOY / f"{kind}.py", copy / "templates" / kind / "toy.py")
    # 3. `make locks`, which needs an index: uvicorn's locks have what the toy requires.
    for lock in (copy / "templates" / "locks").glob("uvicorn-*.txt"):
        shutil.copy(lock, lock.with_name(lock.name.replace("uvicorn", "toy")))
    return copy


def test_columns_of_an_added_server(template):
    """A server that is added gets its columns, and stands among the versions of the grid."""
    code = "from tests.grid import report; print(report.COLUMNS, report.WHOLE_COLUMNS)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=template, check=True, capture_output=True, text=True
    )
    booted, whole = done.stdout.split("] [")
    assert {"toy-single-sqlite", "toy-split-postgres"} <= set(booted.replace("'", " ").split())
    assert "toy-single-sqlite" in whole
    assert "toy-split-postgres" not in whole


@pytest.mark.only(asgi_server="uvicorn", topology="single", database="sqlite")
def test_an_added_server_serves(template, environment, tmp_path):
    """A server that is added by the recipe serves /livez and an echo over a WebSocket."""
    project = bake(tmp_path / "bake", template=template, asgi_server="toy")
    bind = f"127.0.0.1:{free_port()}"
    settings = {"BIND": bind, "ALLOWED_HOSTS": "127.0.0.1", "DRAIN_SECONDS": "0"}
    server = subprocess.Popen(
        [environment / "python", "-m", "serve"],
        cwd=project,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def is_live() -> bool:
        assert server.poll() is None, server.stdout.read()
        try:
            return httpx.get(f"http://{bind}/livez").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually("a response of the toy server", is_live)
        with connect(f"ws://{bind}/ws/echo/", origin=f"http://{bind}", proxy=None) as socket:
            socket.send("hello")
            assert socket.recv(timeout=20) == "hello"
        server.terminate()
        assert server.wait(timeout=20) == 0
    finally:
        server.kill()
        server.communicate()
