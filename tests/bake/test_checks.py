"""The baked project's checks fail on what they are there to find."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.baking import bake

MISTAKES = {
    "realtime imports config": (
        "realtime/hub.py",
        "from config import env\n\nSLUG = env.REDIS_PREFIX\n",
        ["lint-imports"],
        "realtime.hub -> config.env",
    ),
    "serve imports realtime": (
        "serve/limits.py",
        "from realtime import conf\n\nRATE = conf.settings().MESSAGE_RATE\n",
        ["lint-imports"],
        "serve.limits -> realtime.conf",
    ),
    "a wire message is written down twice": (
        "realtime/consumers.py",
        'PONG = {"type": "pong"}\n',
        ["pytest", "-q", "tests/test_protocol.py"],
        "test_messages_stand_once[realtime/consumers.py]",
    ),
    "client.js has another close code": (
        "realtime/protocol.py",
        "CloseCode = IntEnum('CloseCode', {'RECONNECT': 4001})\n",
        ["pytest", "-q", "tests/test_protocol.py"],
        "test_close_codes_of_client",
    ),
    "a type is wrong": (
        "realtime/streams.py",
        'LENGTH: int = "1000"\n',
        ["mypy"],
        "realtime/streams.py",
    ),
}


@pytest.mark.only(asgi_server="uvicorn", topology="single", database="sqlite")
@pytest.mark.parametrize(("file", "mistake", "command", "finding"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_found(
    environment: Path, combination, tmp_path, file, mistake, command, finding
):
    """Imports against the layers, a second copy of a wire message and wrong types fail a check."""
    project = bake(tmp_path, **combination)

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(
            [environment / command[0], *command[1:]],
            cwd=project,
            env=os.environ | {"PATH": f"{environment}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )

    before = run()
    assert before.returncode == 0, before.stdout + before.stderr
    with (project / file).open("a") as source:
        source.write(f"\n{mistake}")
    after = run()
    assert after.returncode == 1
    assert finding in after.stdout
