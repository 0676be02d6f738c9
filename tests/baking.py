"""Baking the template, as a user does on the command line."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHOICES = {
    key: value
    for key, value in json.loads((ROOT / "cookiecutter.json").read_text()).items()
    if isinstance(value, list) and not key.startswith("_")
}

Combination = dict[str, str]
"""An answer to each of the questions that have choices."""


def combinations(*keys: str) -> list[Combination]:
    """Return every combination of the choices on offer for these keys, or for all of them."""
    keys = keys or tuple(CHOICES)
    return [
        dict(zip(keys, values, strict=True)) for values in product(*(CHOICES[key] for key in keys))
    ]


def name(combination: Combination) -> str:
    """Return the name by which people call a combination: uvicorn-single-sqlite-compose."""
    return "-".join(combination.values())


def named(*names: str) -> list[Combination]:
    """Return the combinations of these names."""
    known = {name(combination): combination for combination in combinations()}
    return [known[name] for name in names]


# The columns of the whole grid: each server, and each other choice.
WHOLE = named(
    "uvicorn-single-sqlite-compose",
    "gunicorn-single-postgres-compose",
    "daphne-single-sqlite-compose",
    "hypercorn-single-sqlite-compose",
    "uvicorn-split-postgres-compose",
)
# And what else is booted, so that any two choices are together in one of them.
PAIRWISE = WHOLE + named(
    "gunicorn-split-sqlite-compose",
    "daphne-split-postgres-compose",
    "hypercorn-split-postgres-compose",
)


class Refused(Exception):
    """The template did not bake. The message is what the user sees."""


def bake(folder: Path, *options: str, **answers: str) -> Path:
    """Bake into a folder, which is made where it is missing, and return the project.

    The configuration and the replay file are the folder's own: a user's defaults would otherwise
    change what is baked.

    Raises:
        Refused: the bake ended with an exit status other than 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / ".cookiecutterrc"
    config.write_text(json.dumps({"replay_dir": str(folder / ".replay")}))
    out = folder / "out"
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", "--no-input", f"--config-file={config}"]
        + [f"--output-dir={out}", *options, str(ROOT)]
        + [f"{key}={value}" for key, value in answers.items()],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(done.stderr)
    (project,) = out.iterdir()
    return project
