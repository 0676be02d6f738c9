"""Run the commands of a GitHub workflow locally, with the shell of GitHub's runner."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Step:
    """A step of a job that runs a command."""

    command: str
    environment: dict[str, str]

    def run(self, folder: Path, **environment: str) -> str:
        """Run it in a folder, with these additional variables, and return its output.

        Raises:
            AssertionError: its exit status is not 0; the message is its output.
        """
        # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
        done = subprocess.run(
            ["bash", "-e", "-c", self.command],
            cwd=folder,
            env=os.environ | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{self.command}\n{done.stdout}"
        return done.stdout


def text(project: Path) -> str:
    """Return the source of a project's only workflow."""
    (file,) = (project / ".github" / "workflows").iterdir()
    return file.read_text()


def jobs(project: Path) -> dict[str, dict]:
    """Return its jobs by name."""
    return yaml.safe_load(text(project))["jobs"]


def steps(project: Path, job: str) -> list[Step]:
    """Return the commands of a job, in their order."""
    found = jobs(project)[job]
    return [
        Step(step["run"], found.get("env", {}) | step.get("env", {}))
        for step in found["steps"]
        if "run" in step
    ]
