"""Bake the template, as a user does on the command line; and list its combinations."""

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIGURATION = json.loads((ROOT / "cookiecutter.json").read_text())
CHOICES = {
    key: value
    for key, value in CONFIGURATION.items()
    if isinstance(value, list) and not key.startswith("_")
}

Combination = dict[str, str]
"""An answer to each question that has choices."""


def combinations(*keys: str) -> list[Combination]:
    """Return every combination of the choices on offer for these keys, or for all of them."""
    keys = keys or tuple(CHOICES)
    return [
        dict(zip(keys, values, strict=True)) for values in product(*(CHOICES[key] for key in keys))
    ]


def name(combination: Combination) -> str:
    """Return the name of a combination: uvicorn-single-sqlite-compose."""
    return "-".join(combination.values())


def columns(server: str) -> list[Combination]:
    """Return the combinations that are booted with a server: one for each topology.

    The first database goes with the first topology and the second with the second, but for the
    second server, so that any two choices are together in some combination.
    """
    databases = CHOICES["database"]
    if server == CHOICES["asgi_server"][1]:
        databases = databases[::-1]
    return [
        {"asgi_server": server, "topology": topology, "database": database, "deploy_to": deploy_to}
        for topology, database in zip(CHOICES["topology"], databases, strict=True)
        for deploy_to in CHOICES["deploy_to"]
    ]


_first, _second = zip(*map(columns, CHOICES["asgi_server"]), strict=True)
WHOLE: list[Combination] = [*_first, _second[0]]
"""The columns of the whole grid: each server once, and the default server in both topologies."""
PAIRWISE: list[Combination] = [*WHOLE, *_second[1:]]
"""The combinations that are booted: any two choices are together in one of them."""


def requirements(choice: str) -> list[str]:
    """Return the names of the packages that a choice requires, as in uvicorn-worker."""
    return [
        re.match(r"[\w.-]+", line)[0] for line in CONFIGURATION["_requirements"].get(choice, [])
    ]


def built_on(choice: str) -> set[str]:
    """Return the other ASGI servers whose packages a choice requires."""
    return {*requirements(choice)} & {*CHOICES["asgi_server"]} - {choice}


class BakeError(Exception):
    """The bake failed. The message is the output that the user sees."""


def bake(folder: Path, *options: str, template: Path = ROOT, **answers: str) -> Path:
    """Bake into a folder, created if missing, and return the project's folder.

    Configuration and replay file are in that folder: the user's own defaults have no effect.

    Raises:
        BakeError: the bake ended with an exit status other than 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / ".cookiecutterrc"
    config.write_text(json.dumps({"replay_dir": str(folder / ".replay")}))
    out = folder / "out"
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", "--no-input", f"--config-file={config}"]
        + [f"--output-dir={out}", *options, str(template)]
        + [f"{key}={value}" for key, value in answers.items()],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BakeError(done.stderr)
    (project,) = out.iterdir()
    return project


if __name__ == "__main__":
    # The columns of the grid, for CI's matrix: `python -m tests.baking`.
    print(json.dumps([name(combination) for combination in PAIRWISE]))
