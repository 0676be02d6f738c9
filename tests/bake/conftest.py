"""Fixtures for tests that bake without Docker."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def environment(project, tmp_path_factory) -> Path:
    """Install a project's development lock outside the project; return the folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    lock = project / "requirements-dev.txt"
    for command in (
        ["uv", "venv", "--quiet", folder / "venv"],
        ["uv", "pip", "sync", "--quiet", "--require-hashes", "--python", folder / "venv", lock],
    ):
        subprocess.run(command, check=True)
    return folder / "venv" / "bin"
